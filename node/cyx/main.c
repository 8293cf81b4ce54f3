/* cyx - talks to the node of this machine. The table below is its parser, help, man page and
 * completions. */
#include "node/cyx/cyx.h"

static const struct cli_option common[] = {
    { "control", 'c', "SOCKET", NULL, "the daemon's control socket" },
    { "json", 'j', NULL, NULL, "print JSON, for programs" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option peers_options[] = {
    { "ids", 0, NULL, NULL, "print the ids of linked nodes only, one a line" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option ping_options[] = {
    { "count", 'n', "N", NULL, "how many to send (1 to 100; 4 if not said)" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option id_options[] = {
    { "contact", 0, NULL, NULL, "print the contact line only, for others' bootstrap lists" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option log_options[] = {
    { "lines", 'n', "N", NULL, "how many of the last lines (0 to 512; 50 if not said)" },
    { "follow", 'f', NULL, NULL, "go on with the lines to come, until interrupted" },
    { "level", 'l', "LEVEL", "error warn info debug", "only this level and graver ones" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option top_options[] = {
    { "once", 0, NULL, NULL, "one look, as plain text" },
    { NULL, 0, NULL, NULL, NULL },
};

#define DIRECT_OPTION                                                                              \
    {                                                                                              \
        "direct", 0, NULL, NULL, "ask in the open on an unlisted node: whom it asks sees it"       \
    }

static const struct cli_option dht_get_options[] = {
    { "content", 0, "HEX", NULL, "a provider record's place, by the hash of the content" },
    { "raw", 0, "FILE", NULL, "write the records' bytes to FILE (- for standard output)" },
    { "fresh", 0, NULL, NULL, "ask the network even if the answer is remembered" },
    DIRECT_OPTION,
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option dht_put_options[] = {
    { "once", 0, NULL, NULL, "don't publish it again at half of its life" },
    DIRECT_OPTION,
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option dht_find_options[] = {
    DIRECT_OPTION,
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option dht_announce_options[] = {
    { "size", 0, "N", NULL, "the content's size in bytes" },
    { "address", 0, "HEX", NULL, "the address key of the hidden endpoint that has it" },
    DIRECT_OPTION,
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option expose_options[] = {
    { "name", 'n', "NAME", NULL, "its name on this machine (made from the backend if not said)" },
    { "ports", 'p', "V:B,...", NULL, "virtual ports and their backends; V alone is BACKEND's" },
    { "auth", 'a', "KEY", NULL, "only holders of this client key may find it; may be repeated" },
    { "udp", 0, NULL, NULL, "take datagrams as well" },
    { "no-wait", 0, NULL, NULL, "don't wait until it is ready" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option unexpose_options[] = {
    { "forget", 0, NULL, NULL, "destroy its key as well: the address is gone for good" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option names_options[] = {
    { "names", 0, NULL, NULL, "print the names only, one a line" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option key_new_options[] = {
    { "replace", 0, NULL, NULL, "draw another where there is one" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option connect_options[] = {
    { "isolate", 0, "TAG", NULL, "share no path with connections of another TAG" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_group groups[] = {
    { "name", "names on this machine for addresses of hidden endpoints",
      "A name stands for an address on this machine only: `cyx name add blog ADDRESS`, then "
      "blog.cyx works in every program that uses the front doors, and www.blog.cyx as well." },
    { "key", "client keys for endpoints that only some may read",
      "An endpoint exposed with --auth can be found only with a key its operator knows. Each "
      "address gets a key of its own. The private half stays on this machine (clients.key in the "
      "data folder)." },
    { "dht", "records in the distributed hash table",
      "The DHT keeps signed records at the nodes whose ids are nearest to their keys. A node that "
      "is "
      "not listed shows its address to each node it asks, so that its lookups need --direct until "
      "onion paths carry them. Keys are 64 hex digits." },
    { NULL, NULL, NULL },
};

static const struct cli_command commands[] = {
    { "status", "", 0, 0, "how this node is doing",
      "Shows the state of the node, its network, links, addresses, clock and roles.", NULL, NULL,
      cyx_status },
    { "peers", "", 0, 0, "the links to other nodes",
      "Shows one row for each link: node, state, who dialled, cipher, round-trip time, traffic. "
      "Users without a record show as \"(a user)\".",
      NULL, peers_options, cyx_peers },
    { "ping", "NODE", 1, 1, "measure the round trip to a node",
      "Sends PINGs over the link to NODE: a node id or its beginning (at least 4 digits), a link's "
      "number from cyx peers, or a contact line. A node without a link is dialled first. Fails "
      "when nothing comes back.",
      "node", ping_options, cyx_ping },
    { "id", "", 0, 0, "this node's id and contact line",
      "Shows the node's id, its identity key, and the contact line others can put into their "
      "bootstrap list.",
      NULL, id_options, cyx_id },
    { "record", "[NODE]", 0, 1, "a node's signed record",
      "Shows this node's own signed record, or the one of NODE (a whole id) if it is known.",
      "node", NULL, cyx_record },
    { "doctor", "", 0, 0, "what works, what doesn't, what to do",
      "Checks configuration, clock, sockets, NAT, bootstrap, reachability, DHT, disk, sandbox and "
      "roles, "
      "and says for each what was found and what to do about it. Fails when a stage failed.",
      NULL, NULL, cyx_doctor },
    { "log", "", 0, 0, "the daemon's last log lines",
      "Shows the last lines of the daemon's log, and with --follow the ones to come.", NULL,
      log_options, cyx_log },
    { "log-level", "LEVEL", 1, 1, "change how much is logged",
      "Changes the daemon's log level until it is restarted: error, warn, info or debug.",
      "words:error warn info debug", NULL, cyx_log_level },
    { "top", "", 0, 0, "the live node",
      "Draws rates and links anew every second; q ends it. With --json it prints one object a "
      "second.",
      NULL, top_options, cyx_top },
    { "dht get", "TYPE [KEY]", 1, 2, "find records",
      "Looks for records of TYPE (node, descriptor, provider, offer) at KEY and shows them with "
      "how "
      "the lookup went. Every record shown is proven. A provider record is found by --content as "
      "well. Fails when nobody has one.",
      "words:node descriptor provider offer", dht_get_options, cyx_dht_get },
    { "dht put", "FILE", 1, 1, "publish a signed record",
      "Publishes the signed record in FILE (- for standard input) at its places, and again at half "
      "of its life until it expires. Says at how many stores it stands; fails when too few took "
      "it.",
      "file", dht_put_options, cyx_dht_put },
    { "dht find", "KEY", 1, 1, "the nodes nearest to a key",
      "Shows the nodes nearest to KEY that answered, nearest first, and how many leading bits each "
      "shares with it.",
      NULL, dht_find_options, cyx_dht_find },
    { "dht announce", "CONTENT", 1, 1, "say that a hidden endpoint has content",
      "Publishes a provider record for the content with the hash CONTENT, signed by this node's "
      "pseudonym, which is made on first use (its proof of work takes some seconds). It holds for "
      "a "
      "day: announce again before that.",
      NULL, dht_announce_options, cyx_dht_announce },
    { "dht stats", "", 0, 0, "what this node's part of the DHT holds",
      "Shows the routing table, the store, the roster, lookups under way, and about how many "
      "listed "
      "nodes the network has.",
      NULL, NULL, cyx_dht_stats },
    { "expose", "BACKEND", 1, 1, "offer a service of this machine as a hidden endpoint",
      "Makes BACKEND reachable at an address of its own: PORT (of this machine), ADDRESS:PORT "
      "(numeric) or unix:PATH. It keeps its port number, a unix socket gets 80; --ports says "
      "otherwise: `cyx expose 8080 --ports 80` offers it at port 80, `--ports "
      "80:8080,22:192.0.2.7:22` two backends. Waits until the endpoint was found from outside, as "
      "a visitor would, and prints its address. What was begun goes on when this command is "
      "interrupted, and comes back with the daemon under the same address. The same name again "
      "changes what it offers.",
      NULL, expose_options, cyx_expose },
    { "unexpose", "NAME", 1, 1, "stop offering a service",
      "Stops the endpoint NAME (or the one with that address) at once and resets its visitors. Its "
      "key stays: exposed again under that name it has the same address.",
      "service", unexpose_options, cyx_unexpose },
    { "services", "", 0, 0, "the hidden endpoints of this node",
      "Shows one row for each: name, state, ports, visitors, address, and what keeps one from "
      "being "
      "ready.",
      "service", names_options, cyx_services },
    { "connect", "NAME PORT", 2, 2, "a connection to an endpoint on standard input and output",
      "Connects to PORT of the endpoint NAME (an address or a name of this machine) through the "
      "SOCKS front door, as in `ssh -o ProxyCommand=\"cyx connect %h %p\" me@ADDRESS.cyx`. The end "
      "of standard input ends that direction only. Exits with 0 only if the other end ended in "
      "order.",
      "petname", connect_options, cyx_connect_to },
    { "name add", "NAME ADDRESS", 2, 2, "give an address a name",
      "NAME.cyx stands for ADDRESS from "
      "now on. A name has 1 to 55 letters, digits and inner hyphens.",
      NULL, NULL, cyx_name_add },
    { "name rm", "NAME", 1, 1, "take a name away", "NAME stands for nothing any more.", "petname",
      NULL, cyx_name_rm },
    { "name ls", "", 0, 0, "the names", "Shows names and addresses.", NULL, names_options,
      cyx_name_ls },
    { "key new", "NAME", 1, 1, "draw a client key for an endpoint",
      "Draws a key for the endpoint NAME (an address or a name of this machine) and prints its "
      "public half, for the operator's --auth.",
      "petname", key_new_options, cyx_key_new },
    { "key show", "[NAME]", 0, 1, "the public halves of client keys",
      "Shows the client key for NAME, or all.", "petname", NULL, cyx_key_show },
    { "why", "NAME [PORT]", 1, 2, "try to reach an endpoint, step by step",
      "Reaches for PORT (80 if not said) of the endpoint NAME from scratch and shows each stage, "
      "what it took and how it went, and what to do where one failed. Fails when one did.",
      "petname", NULL, cyx_why },
    { "paths", "", 0, 0, "this node's own paths",
      "Shows what paths this node has built, for what, over which relays, and how many others' "
      "paths it carries.",
      NULL, NULL, cyx_paths },
    { "metrics", "", 0, 0, "all counters, as Prometheus text",
      "Prints what the metrics port would serve.", NULL, NULL, cyx_metrics },
    { "time-accept", "", 0, 0, "accept a step of network time of more than a day",
      "When the peers' time is more than a day from this machine's, the node waits for this word "
      "before it believes them. Check your clock first.",
      NULL, NULL, cyx_time_accept },
    { "call", "METHOD [KEY=VALUE]...", 1, 32, "call any method of the daemon or of a role",
      "Calls METHOD with the given parameters and prints the result as JSON. "
      "\"cyx call methods\" lists what there is.",
      NULL, NULL, cyx_call },
    { "stop", "", 0, 0, "stop the daemon gracefully",
      "Asks the daemon to say goodbye to its peers, write what must be kept, and end.", NULL, NULL,
      cyx_stop },
    { NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL },
};

static const struct cli_program program = {
    .name = "cyx",
    .help = "talk to the cyxd node of this machine",
    .text =
        "cyx asks the running cyxd daemon through its control socket and shows what it says. Every "
        "command has --json, whose members are described in docs/control.md.",
    .options = common,
    .commands = commands,
    .groups = groups,
    .footer =
        "ENVIRONMENT\nCYX_CONTROL names the control socket when --control does not.\n"
        "NO_COLOR, when it is not empty, turns colour off.\n\n"
        "EXIT STATUS\n0: it worked. 1: what was asked for failed. 2: the command line is wrong. "
        "3: no daemon answers.\n\n"
        "EXAMPLES\nA node's contact line, for others' bootstrap lists: cyx id --contact\n"
        "What may be wrong, for a program: cyx doctor --json",
};

int main(int argc, char **argv)
{
    return cli_main(&program, argc, argv);
}
