#include "node/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mp.h"
#include "dht/dht.h"
#include "node/methods.h"
#include "node/onion_node.h"
#include "node/roles.h"

enum {
    DISK_FAIL_BYTES = 16 << 20, /* what the stores may grow by soon */
    DISK_WARN_BYTES = 256 << 20,
    CLOCK_WARN_MS = 5000,
};

__attribute__((format(printf, 3, 4))) static void say(struct doctor_line *l,
                                                      enum doctor_state state, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(l->text, sizeof l->text, fmt, ap) < 0)
        l->text[0] = '\0';
    va_end(ap);
    l->state = state;
}

static void cure(struct doctor_line *l, const char *text)
{
    snprintf(l->cure, sizeof l->cure, "%s", text);
}

static void configuration(struct node *n, struct doctor_line *l)
{
    struct node_config_text text;
    struct node_config fresh;
    struct cyx_err err = { 0 };
    const struct conf_item *schemas[NODE_ROLES_MAX];
    if (n->config.path[0] == '\0') {
        say(l, DOCTOR_OK, "no file: every setting has its default");
        return;
    }
    size_t count = roles_schemas(n->roles, schemas, NODE_ROLES_MAX);
    if (node_config_read(&text, n->config.path, &err) < 0) {
        say(l, DOCTOR_WARN, "%s can't be read any more: %s", n->config.path, err.msg);
        cure(l, "restore the file: the next start needs it");
        return;
    }
    if (node_config_parse(&fresh, &text, &n->overrides, schemas, count, NULL, NULL, &err) < 0) {
        say(l, DOCTOR_WARN, "%s was changed and is wrong now: %s", n->config.path, err.msg);
        cure(l, "repair it (`cyxd --check`): the next start would fail");
    } else {
        say(l, DOCTOR_OK, "%s", n->config.path);
        node_config_fini(&fresh);
    }
    node_config_text_fini(&text);
}

static void clock_stage(const struct mesh_status *s, struct doctor_line *l)
{
    double off = (double)s->time_offset_ms / 1000;
    switch (s->time_state) {
    case MESH_TIME_OWN:
        if (s->time_offset_ms < CLOCK_WARN_MS && s->time_offset_ms > -CLOCK_WARN_MS) {
            say(l, DOCTOR_OK, "%.1f s from what peers say", off);
            return;
        }
        say(l, DOCTOR_WARN, "this machine's clock is %.1f s from what peers say", off);
        break;
    case MESH_TIME_MEDIAN:
        say(l, DOCTOR_WARN, "this machine's clock is %.1f s off: the peers' time is used", off);
        break;
    case MESH_TIME_UNCHECKED:
        say(l, DOCTOR_SKIP, "no peer has told its time yet");
        return;
    case MESH_TIME_REFUSED:
        say(l, DOCTOR_FAIL, "peers say a time %.0f s from this machine's clock", off);
        cure(l, "set this machine's clock, or if it is right that the peers' time is used: "
                "`cyx time-accept`");
        return;
    case MESH_TIME_UNSET:
        say(l, DOCTOR_FAIL, "this machine's clock is behind a time that this node has seen");
        break;
    }
    cure(l, "set the clock and keep it right (`timedatectl set-ntp true`)");
}

static void sockets(const struct mesh_status *s, struct doctor_line *l)
{
    char addr[ENV_ADDR_TEXT];
    if (!s->is_started) {
        say(l, DOCTOR_SKIP, "no socket is open yet");
        return;
    }
    say(l, DOCTOR_OK, "%s, %s, batched sending %s, batched receiving %s",
        env_addr_text(&s->local, addr), s->dual_stack ? "IPv6 and IPv4" : "IPv4 only",
        s->gso ? "on" : "off", s->gro ? "on" : "off");
    if (!s->dual_stack) {
        l->state = DOCTOR_WARN;
        cure(l, "nodes with IPv6 only can't be reached: enable IPv6 (net.ipv6.conf.all."
                "disable_ipv6=0) or ask for it with `listen = \"[::]:4100\"`");
    } else if (!s->gso || !s->gro) {
        l->state = DOCTOR_WARN;
        cure(l, "this kernel lacks UDP GSO or GRO (Linux 5.0 and later have both): everything "
                "works, at a part of the speed");
    }
}

static bool is_private_v4(const struct env_addr *a)
{
    const uint8_t *ip = a->ip + 12;
    return ip[0] == 10 || ip[0] == 127 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
           (ip[0] == 192 && ip[1] == 168) || (ip[0] == 100 && (ip[1] & 0xc0) == 64) ||
           (ip[0] == 169 && ip[1] == 254);
}

static void nat(const struct node *n, const struct mesh_status *s, struct doctor_line *l)
{
    char addr[ENV_ADDR_TEXT];
    if (n->config.mesh.n_advertise > 0) {
        say(l, DOCTOR_OK, "%zu addresses are given by `advertise`", n->config.mesh.n_advertise);
        return;
    }
    if (!s->has_observed) {
        say(l, DOCTOR_SKIP, "no two peers have told yet how they see this node");
        return;
    }
    (void)env_addr_text(&s->observed, addr);
    if (env_addr_is_v4(&s->observed) && is_private_v4(&s->observed)) {
        say(l, DOCTOR_OK, "peers see %s, a private address: this is a local mesh", addr);
        return;
    }
    if (s->observed.port == s->local.port) {
        say(l, DOCTOR_OK, "peers see %s, with the port that is open here", addr);
        return;
    }
    say(l, n->config.mesh.is_listed ? DOCTOR_WARN : DOCTOR_OK,
        "peers see %s, here it is port %u: a NAT on the way changes it", addr, s->local.port);
    if (n->config.mesh.is_listed)
        cure(l, "forward the UDP port in the router and name the outer address as `advertise`");
}

static void bootstrap(const struct mesh_status *s, struct doctor_line *l)
{
    if (s->bootstrap_total == 0 && s->links > 0) {
        say(l, DOCTOR_OK, "none configured; %zu links by other ways", s->links);
    } else if (s->bootstrap_total == 0) {
        say(l, DOCTOR_WARN, "no bootstrap node is configured and there is no link");
        cure(l, "add contacts as `bootstrap` in [mesh], or turn on `beacon` in a local network");
    } else if (s->bootstrap_up > 0) {
        say(l, DOCTOR_OK, "%zu of %zu bootstrap nodes are linked", s->bootstrap_up,
            s->bootstrap_total);
    } else if (s->links > 0) {
        say(l, DOCTOR_OK, "none of %zu bootstrap nodes is linked, but %zu other links are up",
            s->bootstrap_total, s->links);
    } else {
        say(l, DOCTOR_FAIL, "none of %zu bootstrap nodes answers", s->bootstrap_total);
        cure(l, "check that UDP may leave this network, that name, id_effort and lab in [network] "
                "are theirs, and that the contacts are current");
    }
}

static void reachability(const struct node *n, const struct mesh_status *s, struct doctor_line *l)
{
    if (s->inbound_seen) {
        say(l, DOCTOR_OK, "others have dialled this node");
    } else if (!n->config.mesh.is_listed) {
        say(l, DOCTOR_SKIP, "this node isn't listed: it only dials out, and that is fine");
    } else if (s->links == 0) {
        say(l, DOCTOR_SKIP, "no links yet");
    } else {
        say(l, DOCTOR_WARN, "nobody has dialled this node since its start");
        cure(l, "open the UDP port in firewall and router; a fresh node may just not be known yet");
    }
}

/* Listed nodes ask and keep; others only ask. */
static void dht_works(const struct node *n, const struct dht_stats *d, struct doctor_line *l)
{
    if (!n->config.dht.is_serving)
        say(l, DOCTOR_OK, "%zu nodes to ask, about %" PRIu64 " in the network", d->contacts,
            d->estimate);
    else
        say(l, DOCTOR_OK,
            "%zu contacts, %zu records of others on disk (%zu of %zu MiB), about %" PRIu64
            " nodes in the network",
            d->contacts, d->stored, d->stored_bytes >> 20, d->store_max >> 20, d->estimate);
    if (!n->config.dht.is_serving || d->stored_bytes < d->store_max - d->store_max / 10)
        return;
    l->state = DOCTOR_WARN;
    cure(l,
         "the store is almost full: what is farthest from this node gives way. Give it more room "
         "(`store` in [dht]) if the disk has it");
}

static void dht(const struct node *n, const struct mesh_status *s, struct doctor_line *l)
{
    struct dht_stats d;
    if (n->dht == NULL) {
        say(l, DOCTOR_SKIP, "not up yet");
        return;
    }
    dht_get_stats(n->dht, &d);
    if (d.is_ready && d.contacts > 0) {
        dht_works(n, &d, l);
    } else if (s->links == 0) {
        say(l, DOCTOR_SKIP, "no links yet: nobody to ask");
    } else if (d.contacts == 0) {
        say(l, DOCTOR_WARN, "no listed node answers: nothing can be found or published");
        cure(l,
             "a network needs listed nodes (`listed = true` in [mesh]) that answer; wait a moment "
             "after a start, then look at `cyx peers` and `cyx log`");
    } else {
        say(l, DOCTOR_WARN, "%zu contacts, still looking for its neighbours", d.contacts);
        cure(l, "wait a moment: it looks itself up after the start, and again every ten minutes");
    }
}

/* Hidden endpoints: can paths be built, and are those offered here found? */
static void paths(const struct node *n, const struct mesh_status *s, struct doctor_line *l)
{
    struct onion_summary o;
    if (n->onion == NULL) {
        say(l, DOCTOR_SKIP,
            n->config.workers > 1 ? "off: hidden endpoints need workers = 1"
                                  : "off, or not up yet");
        return;
    }
    onion_get_status(n->onion, &o);
    if (!o.is_ready) {
        say(l, s->links == 0 ? DOCTOR_SKIP : DOCTOR_WARN,
            "%zu relays are known: too few for a path, or no guard answers", o.relays);
        cure(l, "a path takes three relays (`listed = true`, `relay = true` in [onion]); wait a "
                "moment after a start");
        return;
    }
    say(l, DOCTOR_OK,
        "%zu relays, %zu guards linked, %zu paths ready, %zu of others go through here", o.relays,
        o.guards_up, o.paths_ready, o.paths_through);
}

static void disk(const struct node *n, struct doctor_line *l)
{
    struct statvfs st;
    if (statvfs(n->config.data_dir, &st) != 0) {
        say(l, DOCTOR_FAIL, "%s can't be looked at", n->config.data_dir);
        cure(l, "check that the folder is still there and mounted");
        return;
    }
    uint64_t room = (uint64_t)st.f_bavail * st.f_frsize;
    if ((st.f_flag & ST_RDONLY) != 0) {
        say(l, DOCTOR_FAIL, "%s is read-only", n->config.data_dir);
        cure(l, "remount it read-write: what this node learns is lost at the next start");
    } else if (access(n->config.data_dir, W_OK) != 0) {
        say(l, DOCTOR_FAIL, "%s can't be written", n->config.data_dir);
        cure(l, "give it to the user that cyxd runs as, with mode 700");
    } else {
        say(l,
            room < DISK_FAIL_BYTES   ? DOCTOR_FAIL
            : room < DISK_WARN_BYTES ? DOCTOR_WARN
                                     : DOCTOR_OK,
            "%" PRIu64 " MiB free in %s", room >> 20, n->config.data_dir);
        if (room < DISK_WARN_BYTES)
            cure(l, "make room: without it new peers and keys can't be stored");
    }
}

static void sandbox(const struct node *n, struct doctor_line *l)
{
    bool whole = n->sandbox.has_seccomp && n->sandbox.landlock_abi > 0;
    say(l, whole ? DOCTOR_OK : DOCTOR_WARN, "%s", n->sandbox.text);
    if (!n->sandbox.is_on)
        cure(l, "set `enable = \"auto\"` in [sandbox]");
    else if (!whole)
        cure(l, "a kernel with CONFIG_SECCOMP_FILTER and CONFIG_SECURITY_LANDLOCK (\"landlock\" in "
                "the lsm= list) has both");
}

static void roles(const struct node *n, struct doctor_line *l)
{
    size_t count = roles_len(n->roles), at = 0;
    enum node_health worst = NODE_HEALTHY;
    char text[160];
    if (count == 0) {
        say(l, DOCTOR_SKIP, "no roles are configured");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        enum node_health h = roles_health(n->roles, i, text, sizeof text);
        int len = snprintf(l->text + at, sizeof l->text - at, "%s%s%s%s", at > 0 ? "; " : "",
                           roles_at(n->roles, i)->name, text[0] != '\0' ? ": " : "", text);
        at = len > 0 && at + (size_t)len < sizeof l->text ? at + (size_t)len : sizeof l->text - 1;
        worst = h > worst ? h : worst;
    }
    l->state = worst == NODE_HEALTHY    ? DOCTOR_OK
               : worst == NODE_DEGRADED ? DOCTOR_WARN
                                        : DOCTOR_FAIL;
    if (worst != NODE_HEALTHY)
        cure(l, "`cyx log` says more");
}

void node__doctor(struct node *n, const struct mesh_status *s,
                  struct doctor_line out[static DOCTOR_STAGES])
{
    static const char *const stages[DOCTOR_STAGES] = { "configuration", "clock",     "sockets",
                                                       "nat",           "bootstrap", "reachability",
                                                       "dht",           "paths",     "disk",
                                                       "sandbox",       "roles" };
    struct mesh_status none = { .time_state = MESH_TIME_UNCHECKED };
    if (!s->is_started)
        s = &none;
    for (size_t i = 0; i < DOCTOR_STAGES; i++)
        out[i] = (struct doctor_line){ .stage = stages[i] };
    configuration(n, &out[0]);
    clock_stage(s, &out[1]);
    sockets(s, &out[2]);
    nat(n, s, &out[3]);
    bootstrap(s, &out[4]);
    reachability(n, s, &out[5]);
    dht(n, s, &out[6]);
    paths(n, s, &out[7]);
    disk(n, &out[8]);
    sandbox(n, &out[9]);
    roles(n, &out[10]);
}

static void reply_doctor(struct node *n, struct node_call *call, const struct node_gathered *g)
{
    static const char *const names[] = { "ok", "warn", "fail", "skip" };
    struct doctor_line lines[DOCTOR_STAGES];
    msgpack_sbuffer buf;
    msgpack_packer pk;
    node__doctor(n, &g->status, lines);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, DOCTOR_STAGES);
    for (size_t i = 0; i < DOCTOR_STAGES; i++) {
        msgpack_pack_map(&pk, 4);
        node__pack_kv_str(&pk, "stage", lines[i].stage);
        node__pack_kv_str(&pk, "state", names[lines[i].state]);
        node__pack_kv_str(&pk, "text", lines[i].text);
        node__pack_kv_str(&pk, "cure", lines[i].cure);
    }
    control_reply_buf(call, &buf);
}

void node__method_doctor(void *state, struct node_call *call, const msgpack_object *params)
{
    (void)params;
    node__gather_call(state, call, NODE_GATHER_STATUS, reply_doctor);
}
