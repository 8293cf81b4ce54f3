/* Services of this machine behind hidden endpoints: real backends, a real disk, an onion in memory,
 * and a visitor through the SOCKS door. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "door_rig.h"
#include "node/client_keys.h"
#include "node/expose.h"
#include "node/socks.h"
#include "onion/address.h"

/* ---- words ----------------------------------------------------------------------------------- */

static int parse(struct expose_spec *out, const char *name, const char *backend, const char *ports,
                 bool udp)
{
    const char *const list[] = { ports };
    struct expose_words w = { .name = name,
                              .backend = backend,
                              .ports = list,
                              .n_ports = ports != NULL ? 1 : 0,
                              .has_datagrams = udp };
    return expose_spec_parse(out, &w, NULL);
}

Test(expose_spec, a_port_is_this_machines_and_names_itself)
{
    struct expose_spec s;
    cr_assert_eq(parse(&s, NULL, "8080", NULL, false), 0);
    cr_expect_str_eq(s.name, "port-8080");
    cr_assert_eq(s.n_ports, 1u);
    cr_expect_eq(s.ports[0].port, 8080);
    cr_expect_eq(s.ports[0].kind, ONION_PORT_STREAM);
    cr_expect_eq(s.ports[0].to.addr.ip[12], 127);
    cr_assert_eq(parse(&s, "web", "unix:/run/web.sock", NULL, false), 0);
    cr_expect_str_eq(s.name, "web");
    cr_expect_eq(s.ports[0].port, 80);
    cr_expect_str_eq(s.ports[0].to.path, "/run/web.sock");
    cr_assert_eq(parse(&s, NULL, "[::1]:53", NULL, true), 0);
    cr_expect_eq(s.ports[0].kind, ONION_PORT_BOTH);
}

Test(expose_spec, ports_lead_to_the_backend_or_to_one_of_their_own)
{
    struct expose_spec s;
    cr_assert_eq(parse(&s, NULL, "8080", "80", false), 0);
    cr_assert_eq(s.n_ports, 1u, "the backend's own port is not listed besides");
    cr_expect_eq(s.ports[0].port, 80);
    cr_expect_eq(s.ports[0].to.addr.port, 8080);
    cr_assert_eq(parse(&s, NULL, "8080", "80:8080", false), 0);
    cr_assert_eq(s.n_ports, 1u);
    cr_assert_eq(parse(&s, NULL, "8080", "443:unix:/x", false), 0);
    cr_assert_eq(s.n_ports, 2u);
    cr_expect_eq(s.ports[0].port, 443);
    cr_expect_str_eq(s.ports[0].to.path, "/x");
    cr_expect_eq(s.ports[1].port, 8080);
}

Test(expose_spec, refuses_what_it_can_not_reach_by_number)
{
    struct expose_spec s = { .n_ports = 99 };
    static const char *const bad[] = { "",        "0",           "65536",     "08",
                                       "-1",      "localhost:1", "host",      "unix:x",
                                       "unix:@x", "unix:",       "127.0.0.1", "[::1]:0",
                                       "80 ",     "1.2.3.4:x" };
    char path[128] = "unix:/";
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(parse(&s, NULL, bad[i], NULL, false), CYX_EINVAL, "%s", bad[i]);
    memset(path + 6, 'a', sizeof path - 7);
    cr_expect_eq(parse(&s, NULL, path, NULL, false), CYX_EINVAL);
    cr_expect_eq(parse(&s, NULL, "80", "x", false), CYX_EINVAL);
    cr_expect_eq(parse(&s, NULL, "80", "0", false), CYX_EINVAL);
    cr_expect_eq(parse(&s, NULL, "80", "80:90", false), CYX_EEXIST, "80 twice");
    cr_expect_eq(parse(&s, NULL, "unix:/x", NULL, true), CYX_EINVAL, "no datagrams there");
    cr_expect_eq(parse(&s, "Bad", "80", NULL, false), CYX_EINVAL);
    cr_expect_eq(parse(&s, "abcdefghijklmnopqrst", "80", NULL, false), CYX_EINVAL, "20 letters");
    cr_expect_eq(s.n_ports, 99u, "left alone");
}

Test(expose_spec, survives_the_disk_and_refuses_every_truncation)
{
    static uint8_t buf[EXPOSE_SPEC_MAX];
    struct expose_spec s, back = { .n_ports = 77 };
    bool is_on = false;
    char key[65] = { 0 };
    memset(key, 'a', 64);
    cr_assert_eq(parse(&s, "web", "unix:/run/w", "443:127.0.0.1:8443", true), 0);
    cr_assert_eq(expose_spec_client(&s, key, NULL), 0);
    cr_assert_eq(expose_spec_client(&s, key, NULL), 0);
    cr_expect_eq(s.n_clients, 1u, "the same key once");
    cr_expect_eq(expose_spec_client(&s, "abc", NULL), CYX_EINVAL);
    size_t n = expose_spec_encode(&s, true, buf);
    for (size_t len = 0; len < n; len++) {
        uint8_t *copy = malloc(len > 0 ? len : 1);
        memcpy(copy, buf, len);
        cr_expect_lt(expose_spec_decode(&back, &is_on, "web", copy, len, NULL), 0, "length %zu",
                     len);
        free(copy);
    }
    cr_expect_eq(back.n_ports, 77u);
    cr_assert_eq(expose_spec_decode(&back, &is_on, "web", buf, n, NULL), 0);
    cr_expect(is_on);
    cr_expect_eq(back.n_ports, 2u);
    cr_expect_eq(back.ports[0].kind, ONION_PORT_BOTH);
    cr_expect_eq(back.ports[1].kind, ONION_PORT_STREAM);
    cr_expect_str_eq(back.ports[1].text, "unix:/run/w");
    cr_expect_eq(back.n_clients, 1u);
    buf[0] = 2;
    cr_expect_eq(expose_spec_decode(&back, &is_on, "web", buf, n, NULL), CYX_EVERSION);
}

/* ---- the rig: an echo on a real port --------------------------------------------------------- */

static struct door_rig rig;
static struct mesh_identity *identity;
static struct vault *vault;
static struct expose *expose;

struct echo {
    struct env_listener *listener;
    struct env_addr at;
    unsigned n_accepted, n_closed;
    struct env_stream *last;
};

static void echo_data(void *arg, uint8_t *data, size_t len);

static void echo_closed(void *arg, int code)
{
    struct echo *e = arg;
    (void)code;
    e->n_closed++;
    env_stream_close(rig.env, e->last);
    e->last = NULL;
}

static const struct env_stream_events echo_events = { .data = echo_data, .closed = echo_closed };

static void echo_data(void *arg, uint8_t *data, size_t len)
{
    struct echo *e = arg;
    if (len > 0) {
        cr_expect_eq(env_stream_write(rig.env, e->last, data, len), 0);
        return;
    }
    env_stream_end(rig.env, e->last);
}

static void echo_accepted(void *arg, struct env_stream *s)
{
    struct echo *e = arg;
    e->n_accepted++;
    env_stream_close(rig.env, e->last);
    e->last = s;
    env_stream_attach(rig.env, s, &echo_events, e);
}

static void echo_start(struct echo *e, const struct env_endpoint *at)
{
    struct cyx_err err = { 0 };
    *e = (struct echo){ .listener = NULL };
    cr_assert_eq(env_listen(rig.env, at, echo_accepted, e, &e->listener, &err), 0, "%s", err.msg);
    if (at->kind == ENV_TCP)
        cr_assert_eq(env_listener_addr(rig.env, e->listener, &e->at), 0);
}

static void echo_stop(struct echo *e)
{
    env_listener_close(rig.env, e->listener);
    env_stream_close(rig.env, e->last);
}

static void open_all(void)
{
    struct cyx_err err = { 0 };
    vault = vault_create(rig.env, identity);
    struct expose_options o = { .env = rig.env, .ops = &memory_ops, .vault = vault };
    expose = expose_open(&o, &err);
    cr_assert_not_null(expose, "%s", err.msg);
    expose_set_onion(expose, &rig.onion);
}

static void close_all(void)
{
    expose_destroy(expose);
    vault_destroy(vault);
}

static void setup(void)
{
    door_rig_start(&rig, NULL);
    identity = mesh_identity_create(rig.env, 1, NULL);
    cr_assert_not_null(identity);
    open_all();
}

static void teardown(void)
{
    close_all();
    mesh_identity_destroy(identity);
    door_rig_stop(&rig);
}

TestSuite(expose, .init = setup, .fini = teardown, .timeout = 100);

struct done {
    unsigned n;
    int code;
};

static void note(void *arg, int code)
{
    struct done *d = arg;
    d->n++;
    d->code = code;
}

static void add(const char *name, const char *backend, const char *ports, bool udp)
{
    struct done d = { 0 };
    struct cyx_err err = { 0 };
    struct expose_spec *s = calloc(1, sizeof *s);
    cr_assert_eq(parse(s, name, backend, ports, udp), 0);
    cr_assert_eq(expose_add(expose, s, note, &d, &err), 0, "%s", err.msg);
    cr_expect_eq(expose_add(expose, s, note, &d, &err), CYX_EBUSY, "one change at a time");
    door_rig_until(&rig, &d.n, 1);
    cr_expect_eq(d.code, 0);
    free(s);
}

static void host_of(const char *name, char host[static ONION_ADDRESS_TEXT])
{
    struct expose_row row;
    cr_assert(expose_get(expose, name, &row));
    cr_assert(row.has_address);
    (void)onion_address_text(row.address, host);
}

static int visit(const char *name, uint16_t port, unsigned want)
{
    char host[ONION_ADDRESS_TEXT];
    host_of(name, host);
    int fd = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_socks(&rig, fd, host, port), want);
    return fd;
}

static void expect_echo(int fd, const char *text)
{
    char got[64] = { 0 };
    door_rig_send(&rig, fd, text, strlen(text));
    cr_expect_eq(door_rig_receive(&rig, fd, got, strlen(text), NULL), strlen(text));
    cr_expect_str_eq(got, text);
}

static const struct env_endpoint any_port = {
    .kind = ENV_TCP, .addr = { .ip = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } }
};

/* ---- visits ---------------------------------------------------------------------------------- */

Test(expose, a_visitor_reaches_a_tcp_backend_and_both_ends_close_in_order)
{
    struct echo e;
    char backend[32], rest[8];
    int over = 0;
    echo_start(&e, &any_port);
    snprintf(backend, sizeof backend, "%u", e.at.port);
    add("web", backend, "80", false);
    int fd = visit("web", 80, SOCKS_OK);
    expect_echo(fd, "hello backend");
    shutdown(fd, SHUT_WR);
    cr_expect_eq(door_rig_receive(&rig, fd, rest, sizeof rest, &over), 0u);
    cr_expect_eq(over, 1);
    struct expose_row row;
    cr_assert(expose_get(expose, "web", &row));
    cr_expect_eq(row.accepted, 1u);
    door_rig_turn(&rig, 10);
    cr_assert(expose_get(expose, "web", &row));
    cr_expect_eq(row.visits, 0u);
    close(fd);
    echo_stop(&e);
}

Test(expose, a_visitor_reaches_a_unix_backend)
{
    struct echo e;
    struct env_endpoint at = { .kind = ENV_UNIX };
    char backend[128];
    snprintf(at.path, sizeof at.path, "%s/web.sock", rig.dir);
    snprintf(backend, sizeof backend, "unix:%s", at.path);
    echo_start(&e, &at);
    add("web", backend, NULL, false);
    int fd = visit("web", 80, SOCKS_OK);
    expect_echo(fd, "hello socket");
    close(fd);
    echo_stop(&e);
}

static unsigned waited_code(const char *name, uint16_t port)
{
    char host[ONION_ADDRESS_TEXT];
    host_of(name, host);
    door_rig_turn(&rig, 1);
    int fd = door_rig_connect(&rig, &rig.socks_at);
    unsigned code = door_rig_socks(&rig, fd, host, port);
    close(fd);
    return code;
}

/* Doors that wait for the answer tell it by its code. */
static void wait_for_answers(void)
{
    struct door_options o = { .wait_for_answer = true };
    close_all();
    mesh_identity_destroy(identity);
    door_rig_stop(&rig);
    door_rig_start(&rig, &o);
    identity = mesh_identity_create(rig.env, 1, NULL);
    open_all();
}

Test(expose, a_backend_that_is_not_there_is_refused_with_its_status)
{
    struct echo e;
    char backend[32];
    wait_for_answers();
    echo_start(&e, &any_port);
    snprintf(backend, sizeof backend, "%u", e.at.port);
    add("web", backend, "80", false);
    cr_expect_eq(waited_code("web", 80), (unsigned)SOCKS_OK);
    cr_expect_eq(waited_code("web", 81), 0x05u, "no such port");
    echo_stop(&e);
    door_rig_turn(&rig, 5);
    cr_expect_eq(waited_code("web", 80), 0x05u, "nobody listens");
    add("sock", "unix:/nonexistent/x", NULL, false);
    cr_expect_eq(waited_code("sock", 80), 0x05u, "no such socket");
    struct expose_row row;
    cr_assert(expose_get(expose, "web", &row));
    cr_expect_eq(row.refused, 1u);
    cr_expect_eq(row.visits, 0u);
}

Test(expose, a_backend_that_breaks_resets_the_visitor_and_a_visitor_the_backend)
{
    struct echo e;
    char backend[32];
    echo_start(&e, &any_port);
    snprintf(backend, sizeof backend, "%u", e.at.port);
    add("web", backend, "80", false);
    int fd = visit("web", 80, SOCKS_OK);
    expect_echo(fd, "x");
    env_stream_reset(rig.env, e.last);
    e.last = NULL;
    cr_expect_eq(door_rig_how_it_ended(&rig, fd), ECONNRESET);
    close(fd);
    struct linger none = { 1, 0 };
    fd = visit("web", 80, SOCKS_OK);
    expect_echo(fd, "x");
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
    door_rig_until(&rig, &e.n_closed, 1);
    echo_stop(&e);
}

Test(expose, datagrams_reach_a_udp_backend_and_come_back)
{
    char backend[32], host[ONION_ADDRESS_TEXT];
    uint8_t got[64], bound[12];
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(server, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(getsockname(server, (struct sockaddr *)&at, &len), 0);
    snprintf(backend, sizeof backend, "%u", ntohs(at.sin_port));
    add("dns", backend, "53", true);
    host_of("dns", host);
    int tcp = door_rig_connect(&rig, &rig.socks_at);
    door_rig_send(&rig, tcp, "\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", 13);
    cr_assert_eq(door_rig_receive(&rig, tcp, bound, 12, NULL), 12u);
    struct sockaddr_in to = { .sin_family = AF_INET };
    memcpy(&to.sin_addr, bound + 6, 4);
    memcpy(&to.sin_port, bound + 10, 2);
    int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    uint8_t rq[128];
    struct writer w = writer_on(rq, sizeof rq);
    socks_datagram_head(&w, host, strlen(host), 53);
    writer_copy(&w, "question", 8);
    (void)sendto(client, rq, writer_len(&w), 0, (struct sockaddr *)&to, sizeof to);
    door_rig_turn(&rig, 20);
    struct sockaddr_in from;
    len = sizeof from;
    cr_assert_eq(recvfrom(server, got, sizeof got, 0, (struct sockaddr *)&from, &len), 8);
    cr_expect_eq(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    cr_expect_eq(memcmp(got, "question", 8), 0);
    (void)sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len);
    int thief = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)sendto(thief, "forged", 6, 0, (struct sockaddr *)&from, len);
    door_rig_turn(&rig, 20);
    uint8_t back[128];
    ssize_t n = recv(client, back, sizeof back, 0);
    cr_assert_eq((size_t)n, writer_len(&w) - 2);
    cr_expect_eq(memcmp(back + n - 6, "answer", 6), 0);
    cr_expect_lt(recv(client, back, sizeof back, 0), 0, "only the backend's own");
    close(thief);
    close(client);
    close(server);
    close(tcp);
}

/* ---- over restarts --------------------------------------------------------------------------- */

Test(expose, what_was_exposed_comes_back_under_the_same_address)
{
    char before[ONION_ADDRESS_TEXT], after[ONION_ADDRESS_TEXT], other[ONION_ADDRESS_TEXT];
    add("web", "8080", "80", false);
    add("git", "9418", NULL, false);
    host_of("web", before);
    host_of("git", other);
    cr_expect_str_neq(before, other);
    close_all();
    cr_expect_eq(memory_services(&rig.onion), 1u, "the rig's own");
    open_all();
    cr_expect_eq(memory_services(&rig.onion), 3u);
    host_of("web", after);
    cr_expect_str_eq(before, after);
    struct expose_row row;
    cr_assert(expose_get(expose, "web", &row));
    cr_expect(row.is_on && row.is_served);
    cr_expect_eq(row.spec->ports[0].port, 80);
    cr_expect_str_eq(expose_find(expose, before), "web");
    before[56] = '\0';
    cr_expect_str_eq(expose_find(expose, before), "web", "without .cyx as well");
    cr_expect_null(expose_find(expose, "nobody"));
}

Test(expose, unexpose_keeps_the_key_unless_it_is_to_be_forgotten)
{
    char before[ONION_ADDRESS_TEXT], after[ONION_ADDRESS_TEXT];
    struct done d = { 0 };
    struct cyx_err err = { 0 };
    add("web", "8080", NULL, false);
    host_of("web", before);
    cr_assert_eq(expose_remove(expose, "web", EXPOSE_KEEP_KEY, note, &d, &err), 0);
    cr_expect_eq(memory_services(&rig.onion), 1u, "at once");
    door_rig_until(&rig, &d.n, 1);
    close_all();
    open_all();
    cr_expect_eq(memory_services(&rig.onion), 1u, "off over a restart");
    add("web", "8081", NULL, false);
    host_of("web", after);
    cr_expect_str_eq(before, after);
    cr_assert_eq(expose_remove(expose, "web", EXPOSE_FORGET_KEY, note, &d, &err), 0);
    door_rig_until(&rig, &d.n, 2);
    cr_expect_null(expose_find(expose, "web"));
    add("web", "8080", NULL, false);
    host_of("web", after);
    cr_expect_str_neq(before, after);
    cr_expect_eq(expose_remove(expose, "nobody", EXPOSE_KEEP_KEY, note, &d, &err), CYX_ENOENT);
}

static size_t file_size(const char *name)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", rig.dir, name);
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    cr_expect_eq(st.st_mode & 0777, 0600u);
    return (size_t)st.st_size;
}

Test(expose, keys_are_sealed_once_there_is_a_passphrase)
{
    char before[ONION_ADDRESS_TEXT], after[ONION_ADDRESS_TEXT];
    struct expose_row row;
    add("web", "8080", NULL, false);
    host_of("web", before);
    size_t plain = file_size("endpoint-web.key");
    close_all();
    /* What mesh_identity_seal_with sets, without its half a second of Argon2. */
    identity->is_sealed = true;
    memset(identity->seal_key, 9, sizeof identity->seal_key);
    open_all();
    host_of("web", after);
    cr_expect_str_eq(before, after);
    door_rig_turn(&rig, 50);
    cr_expect_eq(file_size("endpoint-web.key"), plain + 16);
    close_all();
    identity->is_sealed = false;
    open_all();
    cr_assert(expose_get(expose, "web", &row));
    cr_expect(!row.is_served && !row.has_address);
    cr_expect_not_null(strstr(row.trouble, "passphrase"), "%s", row.trouble);
    close_all();
    identity->is_sealed = true;
    memset(identity->seal_key, 8, sizeof identity->seal_key);
    open_all();
    cr_assert(expose_get(expose, "web", &row));
    cr_expect(!row.is_served);
    close_all();
    memset(identity->seal_key, 9, sizeof identity->seal_key);
    open_all();
    cr_assert(expose_get(expose, "web", &row));
    cr_expect(row.is_served);
}

Test(expose, a_key_that_rotted_is_told_and_never_replaced)
{
    char path[128];
    struct expose_row row;
    struct cyx_err err = { 0 };
    struct expose_spec *s = calloc(1, sizeof *s);
    add("web", "8080", NULL, false);
    close_all();
    snprintf(path, sizeof path, "%s/endpoint-web.key", rig.dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "\xff", 1, 40), 1);
    close(fd);
    open_all();
    cr_assert(expose_get(expose, "web", &row));
    cr_expect(!row.is_served);
    cr_expect_not_null(strstr(row.trouble, "damaged"), "%s", row.trouble);
    cr_assert_eq(parse(s, "web", "8080", NULL, false), 0);
    cr_expect_eq(expose_add(expose, s, NULL, NULL, &err), CYX_ECORRUPT);
    free(s);
}

Test(expose, a_change_under_way_ends_when_the_list_goes)
{
    struct done d = { 0 };
    struct expose_spec *s = calloc(1, sizeof *s);
    cr_assert_eq(parse(s, "web", "8080", NULL, false), 0);
    cr_assert_eq(expose_add(expose, s, note, &d, NULL), 0);
    close_all();
    cr_expect_eq(d.n, 1u);
    cr_expect_eq(d.code, CYX_ECANCELED);
    door_rig_turn(&rig, 20);
    cr_expect_eq(d.n, 1u);
    open_all();
    free(s);
}

static void count_change(void *arg)
{
    ++*(unsigned *)arg;
}

Test(expose, watchers_hear_how_a_service_gets_ready)
{
    unsigned n = 0;
    struct expose_row row;
    struct expose_watch w = { .fn = count_change, .arg = &n };
    add("web", "8080", NULL, false);
    expose_watch(expose, &w);
    for (unsigned i = 1; i <= 3; i++) {
        memory_advance(&rig.onion);
        door_rig_until(&rig, &n, i);
    }
    expose_unwatch(&w);
    cr_assert(expose_get(expose, "web", &row));
    cr_expect_eq(row.info.state, ONION_SERVICE_READY);
}

/* ---- client keys ----------------------------------------------------------------------------- */

Test(expose, client_keys_are_kept_and_handed_to_the_onion)
{
    uint8_t pub[32], again[32], address[32] = { 5 };
    struct cyx_err err = { 0 };
    struct done d = { 0 };
    struct client_keys *k = client_keys_open(rig.env, &memory_ops, vault, &err);
    cr_assert_not_null(k);
    client_keys_set_onion(k, &rig.onion);
    cr_assert_eq(client_keys_make(k, address, false, pub, note, &d, &err), 0);
    door_rig_until(&rig, &d.n, 1);
    cr_expect_eq(d.code, 0);
    cr_expect_eq(rig.onion.n_keys, 1u);
    cr_expect_arr_eq(rig.onion.key_address, address, 32);
    cr_expect_eq(client_keys_make(k, address, false, again, note, &d, &err), CYX_EEXIST);
    client_keys_close(k);
    (void)file_size("clients.key");
    k = client_keys_open(rig.env, &memory_ops, vault, &err);
    cr_assert_not_null(k, "%s", err.msg);
    client_keys_set_onion(k, &rig.onion);
    cr_expect_eq(rig.onion.n_keys, 2u, "after a restart too");
    cr_assert(client_keys_get(k, address, again));
    cr_expect_arr_eq(pub, again, 32);
    cr_assert_eq(client_keys_make(k, address, true, again, note, &d, &err), 0);
    door_rig_until(&rig, &d.n, 2);
    cr_expect_neq(memcmp(pub, again, 32), 0, "replaced");
    client_keys_close(k);
}
