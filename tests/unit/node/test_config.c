/* The daemon's settings: what each complaint says, and what an empty file means. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "node/config.h"

struct complaints {
    unsigned n, line;
    char text[512];
};

static void note(void *arg, const char *file, unsigned line, const char *text)
{
    struct complaints *c = arg;
    (void)file;
    if (c->n++ == 0) {
        c->line = line;
        snprintf(c->text, sizeof c->text, "%s", text);
    }
}

static int parse(struct node_config *out, const char *text, struct complaints *c)
{
    struct node_config_text t = { .path = (char[]){ "f.toml" }, .text = strdup(text) };
    struct node_overrides o = { .data_dir = "/tmp/x" };
    struct cyx_err err = { 0 };
    *c = (struct complaints){ 0 };
    t.len = strlen(text);
    int rc = node_config_parse(out, &t, &o, NULL, 0, note, c, &err);
    free(t.text);
    return rc;
}

static const struct {
    const char *text, *says;
    unsigned line;
} wrong[] = {
    { "data_dir = \"relative\"", "absolute", 1 },
    { "user = \"no-such-user-here\"", "useradd", 1 },
    { "roles = [\"Host\"]", "no role's name", 1 },
    { "roles = [\"../x\"]", "no role's name", 1 },
    { "role_dir = \"lib\"", "absolute", 1 },
    { "workers = 0", "from 1 to 64", 1 },
    { "workers = 65", "from 1 to 64", 1 },
    { "\nworkers = \"2\"", "workers", 2 },
    { "colour = \"red\"", "colour", 1 },
    { "[network]\nname = \"\"", "name", 2 },
    { "[network]\nid_effort = 0", "from 1 to 1048576", 2 },
    { "[network]\nlab = 1", "lab", 2 },
    { "[mesh]\nlisten = \"example.org:1\"", "example.org", 2 },
    { "[mesh]\nlisten = \"[::]:70000\"", "listen", 2 },
    { "[mesh]\nadvertise = [\"0.0.0.0:1\"]", "can't be dialled", 2 },
    { "[mesh]\nadvertise = [\"[::]:1\"]", "can't be dialled", 2 },
    { "[mesh]\nadvertise = [\"192.0.2.1:0\"]", "can't be dialled", 2 },
    { "[mesh]\nbootstrap = [\"abc@192.0.2.1:1\"]", "bootstrap", 2 },
    { "[mesh]\nbootstrap_file = \"list\"", "absolute", 2 },
    { "[mesh]\nbootstrap_file = \"/no/such/file\"", "/no/such/file", 0 },
    { "[mesh]\nfamily = \"xyz\"", "32 lower-case hex digits", 2 },
    { "[mesh]\nfamily = \"ABABABABABABABABABABABABABABABAB\"", "32 lower-case", 2 },
    { "[mesh]\nlinks = 9000", "8192", 2 },
    { "[mesh]\negress_limit = \"fast\"", "egress_limit", 2 },
    { "[mesh]\nbeacon_port = 0", "from 1 to 65535", 2 },
    { "[dht]\nstore = \"1023KiB\"", "from 1MiB to 1GiB", 2 },
    { "[dht]\nstore = \"1025MiB\"", "from 1MiB to 1GiB", 2 },
    { "[dht]\nroster = 65537", "from 0 to 65536", 2 },
    { "[dht]\nroster = -1", "from 0 to 65536", 2 },
    { "[onion]\nhops = 1", "from 3 to 4", 2 },
    { "[onion]\nhops = 6", "from 3 to 4", 2 },
    { "[onion]\nrelay = \"yes\"", "relay", 2 },
    { "[socks]\nlisten = \"9150\"", "9150", 2 },
    { "[socks]\nlisten = \"localhost:9150\"", "localhost", 2 },
    { "[socks]\nlisten = \"0.0.0.0:9150\"", "[socks] listen: \"0.0.0.0:9150\" is not a loop", 0 },
    { "[http]\nlisten = \"192.0.2.7:9151\"", "allow_remote", 0 },
    { "[http]\nlisten = \"[::]:9151\"\n[socks]\nallow_remote = true", "[http] listen", 0 },
    { "[control]\nsocket = \"x.sock\"", "absolute", 2 },
    { "[control]\ngroup = \"no-such-group-here\"", "groupadd", 2 },
    { "[metrics]\nlisten = \"0.0.0.0:9410\"", "loopback", 2 },
    { "[metrics]\nlisten = \"192.0.2.7:9410\"", "loopback", 2 },
    { "[metrics]\nlisten = \"[::]:9410\"", "loopback", 2 },
    { "[log]\nlevel = \"loud\"", "error", 2 },
    { "[log]\nformat = \"xml\"", "journal", 2 },
    { "[key]\npassphrase_file = \"p\"", "absolute", 2 },
    { "[sandbox]\nenable = \"maybe\"", "required", 2 },
    { "[peers]\nx = 1", "peers", 1 },
};

Test(config, names_line_and_cause_of_every_wrong_setting)
{
    struct node_config c;
    struct complaints seen;
    cr_assert_eq(secret_init(NULL), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect_lt(parse(&c, wrong[i].text, &seen), 0, "%s", wrong[i].text);
        cr_expect_eq(seen.line, wrong[i].line, "%s: line %u", wrong[i].text, seen.line);
        cr_expect_not_null(strstr(seen.text, wrong[i].says), "%s says: %s", wrong[i].text,
                           seen.text);
    }
}

Test(config, reports_all_complaints_in_one_go)
{
    struct node_config c;
    struct complaints seen;
    cr_expect_lt(parse(&c, "workers = 0\nuser = 3\n[log]\nlevel = \"x\"\n", &seen), 0);
    cr_expect_eq(seen.n, 3u);
}

Test(config, empty_file_makes_a_pure_user_on_all_addresses)
{
    struct node_config c;
    struct complaints seen;
    cr_assert_eq(parse(&c, "", &seen), 0, "%s", seen.text);
    cr_expect_not(c.mesh.is_listed);
    cr_expect_eq(c.mesh.listen.port, 4100);
    cr_expect_eq(c.mesh.network.id_effort, 4096u);
    cr_expect_str_eq(c.mesh.network.name, "cyx");
    cr_expect_not(c.has_metrics);
    cr_expect_eq(c.workers, 1u);
    cr_expect_str_eq(c.socket, "/tmp/x/control.sock");
    cr_expect_eq(c.sandbox, NODE_SANDBOX_AUTO);
    cr_expect_not(c.dht.is_serving);
    cr_expect_eq(c.dht.store_bytes, (size_t)DHT_STORE_BYTES);
    cr_expect_eq(c.dht.roster_max, 8192u);
    node_config_fini(&c);
}

Test(config, takes_every_setting_over)
{
    struct node_config c;
    struct complaints seen;
    int rc =
        parse(&c,
              "[network]\nname = \"t\"\nid_effort = 1\nlab = true\n"
              "[mesh]\nlisten = \"127.0.0.1:5\"\nlisted = true\nadvertise = [\"127.0.0.1:5\"]\n"
              "capacity = 5000\negress_limit = \"1MiB\"\nlinks = 3\n"
              "family = \"000102030405060708090a0b0c0d0e0f\"\nrotate_link_key = false\n"
              "gcm = false\nbeacon = true\nbeacon_port = 6\n"
              "[dht]\nstore = \"2MiB\"\nroster = 0\n"
              "[control]\nsocket = \"/tmp/s\"\n[metrics]\nlisten = \"[::1]:7\"\n"
              "[log]\nlevel = \"warn\"\nformat = \"json\"\n[sandbox]\nenable = \"required\"\n",
              &seen);
    cr_assert_eq(rc, 0, "%s", seen.text);
    cr_expect(c.mesh.network.is_lab && c.mesh.is_listed && !c.mesh.rotate_link_key);
    cr_expect(c.mesh.no_gcm && c.mesh.beacon && c.mesh.has_family && c.has_metrics);
    cr_expect_eq(c.mesh.n_advertise, 1u);
    cr_expect_eq(c.mesh.capacity_kbps, 5u);
    cr_expect_eq(c.mesh.egress_bytes_per_s, 1048576u);
    cr_expect_eq(c.mesh.links_target, 3u);
    cr_expect_eq(c.mesh.family[15], 15);
    cr_expect_eq(c.mesh.beacon_port, 6);
    cr_expect_eq(c.metrics_at.port, 7);
    cr_expect(c.dht.is_serving);
    cr_expect_eq(c.dht.store_bytes, (size_t)2 << 20);
    cr_expect_eq(c.dht.roster_max, SIZE_MAX, "none is kept");
    cr_expect_eq(c.log_level, LOG_LEVEL_WARN);
    cr_expect(c.is_log_format_set && c.log_format == LOG_FORMAT_JSON);
    cr_expect_eq(c.sandbox, NODE_SANDBOX_REQUIRED);
    cr_expect_str_eq(c.socket, "/tmp/s");
    node_config_fini(&c);
}

Test(config, reads_contacts_from_a_file_and_names_the_wrong_line)
{
    char path[] = "/tmp/cyx-contacts-XXXXXX", toml[256];
    struct node_config c;
    struct complaints seen;
    struct mesh_contact one = { .id = { 1 }, .link_key = { 9 }, .addr = { .port = 1 } };
    char contact[MESH_CONTACT_TEXT];
    int fd = mkstemp(path);
    one.addr = env_addr_v4(192, 0, 2, 1, 4100);
    cr_assert_geq(fd, 0);
    dprintf(fd, "# ours\n\n%s  # far away\n", mesh_contact_text(&one, contact));
    snprintf(toml, sizeof toml, "[mesh]\nbootstrap_file = \"%s\"\n", path);
    cr_expect_eq(parse(&c, toml, &seen), 0, "%s", seen.text);
    cr_expect_eq(c.mesh.n_bootstrap, 1u);
    cr_expect_eq(c.mesh.bootstrap[0].id[0], 1);
    node_config_fini(&c);
    dprintf(fd, "nonsense\n");
    cr_expect_lt(parse(&c, toml, &seen), 0);
    cr_expect_not_null(strstr(seen.text, ":4:"), "%s", seen.text);
    close(fd);
    unlink(path);
}

Test(config, example_files_load)
{
    static const char *const names[] = { "single-node.toml", "local-member.toml",
                                         "bootstrap-node.toml" };
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        struct node_config_text t;
        struct node_config c;
        struct node_overrides o = { .data_dir = "/tmp/x" };
        struct complaints seen = { 0 };
        struct cyx_err err = { 0 };
        snprintf(path, sizeof path, "%s/configs/%s", CYX_SOURCE_DIR, names[i]);
        cr_assert_eq(node_config_read(&t, path, &err), 0, "%s", err.msg);
        cr_expect_eq(node_config_parse(&c, &t, &o, NULL, 0, note, &seen, &err), 0, "%s: %s", path,
                     err.msg);
        node_config_fini(&c);
        node_config_text_fini(&t);
    }
}

Test(config, front_doors_are_on_loopback_unless_said_otherwise)
{
    struct node_config c;
    struct complaints seen;
    cr_assert_eq(parse(&c, "", &seen), 0);
    cr_expect(c.endpoints.has_socks && c.endpoints.is_socks_default && !c.endpoints.has_tunnel);
    cr_expect_eq(c.endpoints.socks_at.port, 9150);
    cr_expect_eq(c.endpoints.hops, 3u);
    cr_expect(!c.endpoints.is_relay, "not listed");
    node_config_fini(&c);
    cr_assert_eq(parse(&c,
                       "[mesh]\nlisted = true\n[socks]\nlisten = \"\"\n[http]\n"
                       "listen = \"[::]:9151\"\nallow_remote = true\n[onion]\nhops = 4",
                       &seen),
                 0, "%s", seen.text);
    cr_expect(!c.endpoints.has_socks && c.endpoints.has_tunnel && c.endpoints.is_relay);
    cr_expect_eq(c.endpoints.tunnel_at.port, 9151);
    cr_expect_eq(c.endpoints.hops, 4u);
    node_config_fini(&c);
    cr_assert_eq(parse(&c, "[socks]\nlisten = \"[::1]:9150\"", &seen), 0);
    cr_expect(!c.endpoints.is_socks_default);
    node_config_fini(&c);
    cr_assert_eq(parse(&c, "[mesh]\nlisted = true\n[onion]\nrelay = false", &seen), 0);
    cr_expect(!c.endpoints.is_relay);
    node_config_fini(&c);
}

Test(config, man_page_names_every_setting)
{
    struct cyx_err err = { 0 };
    struct node_config_text t;
    char want[64];
    cr_assert_eq(node_config_read(&t, CYX_SOURCE_DIR "/docs/man/cyxd.toml.5", &err), 0, "%s",
                 err.msg);
    for (const struct conf_item *i = node_schema; i->key != NULL; i++) {
        int n = snprintf(want, sizeof want, "\n.It Ic %s\n", i->key);
        cr_expect_not_null(memmem(t.text, t.len, want, (size_t)n), "[%s] %s", i->table, i->key);
    }
    node_config_text_fini(&t);
}
