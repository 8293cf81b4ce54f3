/* What a user sees: the control methods of hidden endpoints, through the program `cyx` itself. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "door_rig.h"
#include "node/control.h"
#include "node/endpoints.h"

static struct door_rig rig;
static struct mesh_identity *identity;
static struct endpoints *endpoints;
static struct control *control;
static char control_path[108], cyx[512];
static struct env_timer grow; /* services get ready by and by */

static bool find(void *arg, const char *name, size_t len, struct control_target *out)
{
    (void)arg;
    for (const struct node_method *m = endpoints_methods; m->name != NULL; m++) {
        if (strlen(m->name) == len && memcmp(m->name, name, len) == 0) {
            *out = (struct control_target){ .fn = m->fn, .state = endpoints };
            return true;
        }
    }
    return false;
}

static void on_grow(struct env_timer *t, void *arg)
{
    (void)arg;
    memory_advance(&rig.onion);
    env_timer_in(rig.env, t, ENV_MS(50));
}

static void open_endpoints(const struct door_ops *ops)
{
    struct cyx_err err = { 0 };
    struct endpoints_options o = { .env = rig.env,
                                   .ops = ops,
                                   .config = { .has_socks = true,
                                               .has_tunnel = true,
                                               .socks_at = env_addr_v4(127, 0, 0, 1, 0),
                                               .tunnel_at = env_addr_v4(127, 0, 0, 1, 0) } };
    /* The rig's own petnames would be a second user of the store. */
    petnames_close(rig.names);
    rig.names = NULL;
    endpoints = endpoints_create(&o, &err);
    cr_assert_not_null(endpoints, "%s", err.msg);
}

static void setup(void)
{
    struct cyx_err err = { 0 };
    door_rig_start(&rig, NULL);
    identity = mesh_identity_create(rig.env, 1, NULL);
    open_endpoints(&memory_ops);
    cr_assert_eq(endpoints_open(endpoints, identity, &err), 0, "%s", err.msg);
    endpoints_set_onion(endpoints, &rig.onion);
    snprintf(control_path, sizeof control_path, "%s/control.sock", rig.dir);
    struct control_options o = {
        .env = rig.env, .path = control_path, .uid = geteuid(), .find = find
    };
    control = control_create(&o, &err);
    cr_assert_not_null(control, "%s", err.msg);
    ssize_t n = readlink("/proc/self/exe", cyx, sizeof cyx - 8);
    cr_assert_gt(n, 0);
    cyx[n] = '\0';
    snprintf(strrchr(cyx, '/'), 8, "/cyx");
    env_timer_init(&grow, on_grow, NULL);
    env_timer_in(rig.env, &grow, ENV_MS(50));
}

static void teardown(void)
{
    env_timer_stop(rig.env, &grow);
    control_destroy(control);
    endpoints_destroy(endpoints);
    mesh_identity_destroy(identity);
    door_rig_stop(&rig);
}

TestSuite(endpoints, .init = setup, .fini = teardown, .timeout = 100);

static char said[65536];

/* Runs `cyx ARGS...`; its status, with what it said in `said`. */
#define CYX(...) run_cyx((const char *const[]){ cyx, "--control", control_path, __VA_ARGS__, NULL })
static int run_cyx(const char *const *argv)
{
    return door_rig_program(&rig, (char *const *)(uintptr_t)argv, said, sizeof said);
}

static json_t *parsed(void)
{
    json_error_t why;
    json_t *j = json_loads(said, JSON_DECODE_ANY, &why);
    cr_assert_not_null(j, "%s: %s", why.text, said);
    return j;
}

static const char *text(json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    cr_assert_not_null(s, "%s", key);
    return s;
}

/* ---- expose ---------------------------------------------------------------------------------- */

Test(endpoints, expose_waits_until_it_was_found_from_outside_and_prints_the_address)
{
    cr_assert_eq(CYX("expose", "8080", "--name", "web", "--ports", "80", "--json"), 0, "%s", said);
    json_t *j = parsed();
    cr_expect_str_eq(text(j, "name"), "web");
    cr_expect_str_eq(text(j, "state"), "ready");
    cr_expect_eq(strlen(text(j, "address")), 60u);
    json_t *port = json_array_get(json_object_get(j, "ports"), 0);
    cr_expect_eq(json_integer_value(json_object_get(port, "port")), 80);
    cr_expect_str_eq(text(port, "backend"), "8080");
    json_decref(j);
    cr_assert_eq(CYX("services"), 0);
    cr_expect_not_null(strstr(said, "web"));
    cr_expect_not_null(strstr(said, "ready"));
    cr_assert_eq(CYX("services", "--names"), 0);
    cr_expect_str_eq(said, "web\n");
}

Test(endpoints, expose_for_people_shows_address_and_ports)
{
    cr_assert_eq(CYX("expose", "unix:/run/x.sock", "--no-wait"), 0);
    cr_expect_not_null(strstr(said, "address "));
    cr_expect_not_null(strstr(said, ".cyx\n"));
    cr_expect_not_null(strstr(said, "80 -> unix:/run/x.sock"));
}

Test(endpoints, expose_takes_many_client_keys_and_ports)
{
    char a[65], b[65];
    memset(a, 'a', 64);
    memset(b, 'b', 64);
    a[64] = b[64] = '\0';
    cr_assert_eq(CYX("expose", "1", "--ports", "80:8080,443:unix:/x", "--auth", a, "--auth", b,
                     "--udp", "--no-wait", "--json"),
                 0);
    json_t *j = parsed();
    cr_expect_eq(json_integer_value(json_object_get(j, "clients")), 2);
    cr_expect_eq(json_array_size(json_object_get(j, "ports")), 3u);
    json_decref(j);
}

Test(endpoints, expose_says_what_is_wrong)
{
    cr_expect_eq(CYX("expose", "example.org:80", "--json"), 1);
    cr_expect_eq(CYX("expose", "80", "--auth", "xyz"), 1);
    cr_expect_eq(CYX("expose", "80", "--ports", "80:81,80:82"), 1);
    cr_expect_eq(CYX("expose"), 2);
    cr_expect_eq(CYX("unexpose", "nobody"), 1);
    cr_expect_eq(CYX("services", "--names"), 0);
    cr_expect_str_eq(said, "", "nothing was begun");
}

Test(endpoints, unexpose_takes_name_or_address_and_keeps_the_key)
{
    cr_assert_eq(CYX("expose", "80", "--name", "web", "--json"), 0);
    json_t *first = parsed();
    cr_assert_eq(CYX("unexpose", text(first, "address")), 0);
    cr_expect_str_eq(said, "web is off\n");
    cr_expect_eq(memory_services(&rig.onion), 1u);
    cr_assert_eq(CYX("expose", "81", "--name", "web", "--json"), 0);
    json_t *again = parsed();
    cr_expect_str_eq(text(first, "address"), text(again, "address"));
    cr_assert_eq(CYX("unexpose", "web", "--forget"), 0);
    cr_assert_eq(CYX("services", "--names"), 0);
    cr_expect_str_eq(said, "");
    json_decref(first);
    json_decref(again);
}

/* ---- names, keys, why, paths ----------------------------------------------------------------- */

Test(endpoints, names_are_added_listed_and_removed)
{
    char want[256];
    cr_assert_eq(CYX("name", "add", "Blog.cyx", rig.host), 0, "%s", said);
    snprintf(want, sizeof want, "Blog.cyx is %s\n", rig.host);
    cr_expect_str_eq(said, want);
    cr_assert_eq(CYX("name", "ls", "--names"), 0);
    cr_expect_str_eq(said, "blog\n");
    cr_assert_eq(CYX("name", "ls", "--json"), 0);
    json_t *j = parsed();
    cr_expect_str_eq(text(json_array_get(j, 0), "address"), rig.host);
    json_decref(j);
    cr_assert_eq(CYX("name", "add", "alias", "blog"), 0, "a name may stand for another's address");
    cr_expect_eq(CYX("name", "add", "a.b", rig.host), 1);
    cr_expect_eq(CYX("name", "add", "x", "example.org"), 1);
    cr_assert_eq(CYX("name", "rm", "blog"), 0);
    cr_expect_eq(CYX("name", "rm", "blog"), 1);
}

Test(endpoints, client_keys_are_drawn_once_for_each_address)
{
    char key[80];
    cr_assert_eq(CYX("key", "new", rig.host), 0);
    cr_expect_eq(strlen(said), 65u);
    snprintf(key, sizeof key, "%s", said);
    cr_expect_eq(CYX("key", "new", rig.host), 1, "not without --replace");
    cr_assert_eq(CYX("key", "show", rig.host), 0);
    key[64] = '\0';
    cr_expect_not_null(strstr(said, key));
    cr_assert_eq(CYX("key", "new", rig.host, "--replace"), 0);
    cr_expect_null(strstr(said, key));
    cr_expect_eq(rig.onion.n_keys, 2u);
    cr_assert_eq(CYX("name", "add", "web", rig.host), 0);
    cr_assert_eq(CYX("key", "show", "web"), 0);
    cr_expect_eq(CYX("key", "show", "nobody"), 1);
}

Test(endpoints, why_shows_each_stage_and_the_cure)
{
    uint8_t other[32], seed[32] = { 3 };
    char host[ONION_ADDRESS_TEXT];
    cr_assert_eq(CYX("why", rig.host, "80"), 0, "%s", said);
    cr_expect_not_null(strstr(said, "guard"));
    cr_expect_not_null(strstr(said, "handshake"));
    cr_expect_not_null(strstr(said, "reached "));
    memory_address(other, seed);
    (void)onion_address_text(other, host);
    cr_assert_eq(CYX("why", host), 1);
    cr_expect_not_null(strstr(said, "descriptor  FAILED"), "%s", said);
    cr_expect_not_null(strstr(said, "-> ask the operator"), "%s", said);
    cr_assert_eq(CYX("why", host, "--json"), 1);
    json_t *j = parsed();
    cr_expect_str_eq(text(j, "fail"), "no-descriptor");
    cr_expect_eq(json_array_size(json_object_get(j, "steps")), 2u);
    json_decref(j);
    cr_expect_eq(CYX("why", "example.org"), 1);
    cr_expect_eq(CYX("why", host, "99999"), 2);
}

Test(endpoints, paths_shows_relays_and_state)
{
    cr_assert_eq(CYX("paths"), 0);
    cr_expect_not_null(strstr(said, "12 relays known"));
    cr_expect_not_null(strstr(said, "abababab abababab abababab"), "%s", said);
    cr_assert_eq(CYX("paths", "--json"), 0);
    json_t *j = parsed();
    cr_expect(json_is_true(json_object_get(j, "ready")));
    cr_expect_eq(json_array_size(json_object_get(j, "paths")), 1u);
    json_decref(j);
}

/* ---- connect --------------------------------------------------------------------------------- */

static int through_shell(const char *script)
{
    const char *const argv[] = { "sh", "-c", script, "sh", cyx, control_path, rig.host, NULL };
    return run_cyx(argv);
}

Test(endpoints, connect_carries_bytes_and_half_closes)
{
    cr_assert_eq(through_shell("printf 'hello endpoint' | \"$1\" -c \"$2\" connect \"$3\" 80"), 0,
                 "%s", said);
    cr_expect_str_eq(said, "hello endpoint");
    cr_assert_eq(through_shell("head -c 3000000 /dev/zero | \"$1\" -c \"$2\" connect \"$3\" 80 "
                               "--isolate one | wc -c"),
                 0);
    cr_expect_eq(strtoul(said, NULL, 10), 3000000u);
    cr_expect_neq(rig.onion.last.isolation.tag[0] | rig.onion.last.isolation.tag[1], 0);
}

Test(endpoints, connect_gets_what_is_poured_after_its_input_ended)
{
    rig.is_http = true;
    rig.pours = 2000000;
    cr_assert_eq(through_shell("printf 'GET /' | \"$1\" -c \"$2\" connect \"$3\" 80 | wc -c"), 0);
    cr_expect_gt(strtoul(said, NULL, 10), 2000000u);
}

Test(endpoints, connect_fails_when_it_is_refused_or_breaks)
{
    cr_expect_eq(through_shell("\"$1\" -c \"$2\" connect \"$3\" 81 </dev/null 2>&1"), 1);
    cr_expect_not_null(strstr(said, "doesn't offer this port"), "%s", said);
    cr_expect_eq(through_shell("\"$1\" -c \"$2\" connect example.org 80 </dev/null 2>&1"), 1);
    cr_expect_not_null(strstr(said, "not a .cyx name"), "%s", said);
    rig.refuses = true;
    rig.status = ONION_OPEN_REFUSED;
    cr_expect_eq(through_shell("sleep 1 | \"$1\" -c \"$2\" connect \"$3\" 80 2>&1"), 1);
    cr_expect_not_null(strstr(said, "broke"), "%s", said);
}

Test(endpoints, ssh_speaks_through_connect)
{
    if (access("/usr/bin/ssh", X_OK) != 0)
        cr_skip_test("ssh is not installed");
    /* No ssh server, but what ssh says of its answer it can only have read through the stream. */
    rig.is_http = true;
    rig.pours = 1;
    cr_expect_neq(through_shell("/usr/bin/ssh -v -F /dev/null "
                                "-o ProxyCommand=\"$1 -c $2 connect %h 80\" x@\"$3\" 2>&1"),
                  0);
    cr_expect_not_null(strstr(said, "banner line 0: HTTP/1.1 200 OK"), "%s", said);
}

/* ---- builds and times without ---------------------------------------------------------------- */

Test(endpoints, before_the_onion_is_there_questions_wait_and_services_are_kept)
{
    endpoints_set_onion(endpoints, NULL);
    cr_expect_eq(CYX("why", rig.host), 1);
    cr_expect_eq(CYX("paths"), 1);
    cr_assert_eq(CYX("expose", "80", "--name", "later", "--no-wait", "--json"), 0);
    json_t *j = parsed();
    cr_expect_str_eq(text(j, "state"), "waiting");
    json_decref(j);
    endpoints_set_onion(endpoints, &rig.onion);
    cr_expect_eq(memory_services(&rig.onion), 2u);
}

Test(endpoints, a_build_without_an_onion_says_so)
{
    endpoints_destroy(endpoints);
    rig.names = NULL;
    open_endpoints(NULL);
    cr_expect_eq(CYX("services"), 1);
    cr_expect_eq(through_shell("\"$1\" -c \"$2\" expose 80 2>&1"), 1);
    cr_expect_not_null(strstr(said, "no hidden endpoints"), "%s", said);
}

Test(endpoints, a_default_port_that_is_taken_is_no_failure_and_a_written_one_is)
{
    struct cyx_err err = { 0 };
    struct endpoints_options o = {
        .env = rig.env,
        .ops = &memory_ops,
        .config = { .has_socks = true, .socks_at = rig.socks_at, .is_socks_default = true }
    };
    struct endpoints *e = endpoints_create(&o, &err);
    cr_expect_not_null(e, "%s", err.msg);
    endpoints_destroy(e);
    o.config.is_socks_default = false;
    cr_expect_null(endpoints_create(&o, &err));
    cr_expect_not_null(strstr(err.msg, "[socks] listen"), "%s", err.msg);
}
