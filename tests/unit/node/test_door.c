/* Front doors from a program's side: real sockets, an endpoint in memory. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "door_rig.h"
#include "node/socks.h"

static struct door_rig rig;

static void setup(void)
{
    door_rig_start(&rig, NULL);
}

static void teardown(void)
{
    door_rig_stop(&rig);
}

TestSuite(door, .init = setup, .fini = teardown, .timeout = 100);

static struct door_counts counts(const struct door *d)
{
    struct door_counts c;
    door_get_counts(d, &c);
    return c;
}

static int open_stream(void)
{
    int fd = door_rig_connect(&rig, &rig.socks_at);
    cr_assert_eq(door_rig_socks(&rig, fd, rig.host, RIG_PORT), SOCKS_OK);
    return fd;
}

static void expect_echo(int fd, const char *text)
{
    char got[64] = { 0 };
    door_rig_send(&rig, fd, text, strlen(text));
    cr_expect_eq(door_rig_receive(&rig, fd, got, strlen(text), NULL), strlen(text));
    cr_expect_str_eq(got, text);
}

Test(door, bytes_go_through_and_a_half_close_leaves_the_other_half)
{
    char got[64];
    int over = 0, fd = open_stream();
    expect_echo(fd, "hello");
    shutdown(fd, SHUT_WR);
    cr_expect_eq(door_rig_receive(&rig, fd, got, sizeof got, &over), 0u);
    cr_expect_eq(over, 1, "an orderly end");
    cr_expect_eq(rig.n_ended, 1u);
    close(fd);
    door_rig_turn(&rig, 5);
    cr_expect_eq(counts(rig.socks).conns, 0u);
    cr_expect_eq(counts(rig.socks).to_far, 5u);
    cr_expect_eq(counts(rig.socks).to_local, 5u);
    cr_expect_eq(counts(rig.socks).resets, 0u);
    cr_expect_eq(memory_streams(&rig.onion), 0u);
}

Test(door, bytes_sent_with_the_request_ride_in_the_first_flight)
{
    uint8_t all[256] = { 5, 1, 0, 5, 1, 0, 3, 60 }, got[32];
    memcpy(all + 8, rig.host, 60);
    all[69] = RIG_PORT;
    memcpy(all + 70, "early", 5);
    int fd = door_rig_connect(&rig, &rig.socks_at);
    door_rig_send(&rig, fd, all, 75);
    cr_assert_eq(door_rig_receive(&rig, fd, got, 17, NULL), 17u);
    cr_expect_eq(got[3], SOCKS_OK);
    cr_expect_eq(memcmp(got + 12, "early", 5), 0, "behind the answer, never before it");
    close(fd);
}

static void expect_code(enum onion_fail why, unsigned code, unsigned status)
{
    uint8_t address[32], seed[32] = { (uint8_t)why, 1 };
    char host[ONION_ADDRESS_TEXT], rq[256], got[1024] = { 0 };
    int over = 0;
    memory_address(address, seed);
    (void)onion_address_text(address, host);
    memory_fail(&rig.onion, address, why);
    int fd = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_socks(&rig, fd, host, 1), code, "reason %d", (int)why);
    cr_expect_eq(door_rig_how_it_ended(&rig, fd), 1, "a refusal can be read to its end");
    close(fd);
    fd = door_rig_connect(&rig, &rig.tunnel_at);
    int n = snprintf(rq, sizeof rq, "CONNECT %s:1 HTTP/1.1\r\nHost: x\r\n\r\n", host);
    door_rig_send(&rig, fd, rq, (size_t)n);
    (void)door_rig_receive(&rig, fd, got, sizeof got - 1, &over);
    cr_expect_eq(strtoul(got + 9, NULL, 10), status, "reason %d: %s", (int)why, got);
    cr_expect_eq(over, 1);
    close(fd);
}

Test(door, every_failure_before_success_gets_its_code)
{
    expect_code(ONION_FAIL_NO_DESCRIPTOR, 0x04, 502);
    expect_code(ONION_FAIL_UNREACHABLE, 0x04, 502);
    expect_code(ONION_FAIL_NOT_FOR_US, 0x02, 403);
    expect_code(ONION_FAIL_NO_PORT, 0x05, 502);
    expect_code(ONION_FAIL_REFUSED, 0x05, 502);
    expect_code(ONION_FAIL_BUSY, 0x01, 503);
    expect_code(ONION_FAIL_EFFORT, 0x01, 503);
    expect_code(ONION_FAIL_TIMEOUT, 0x06, 504);
    expect_code(ONION_FAIL_NOT_READY, 0x03, 503);
}

Test(door, what_is_no_cyx_name_is_refused_and_nobody_is_asked)
{
    static const struct {
        const char *host;
        unsigned code;
    } cases[] = { { "example.org", 0x02 },     { "localhost", 0x02 }, { "127.0.0.1", 0x02 },
                  { "example.cyx.org", 0x02 }, { "", 0x02 },          { "nobody.cyx", 0x08 },
                  { "a b.cyx", 0x08 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = door_rig_connect(&rig, &rig.socks_at);
        cr_expect_eq(door_rig_socks(&rig, fd, cases[i].host, 80), cases[i].code, "%s",
                     cases[i].host);
        close(fd);
    }
    char wrong[ONION_ADDRESS_TEXT];
    memcpy(wrong, rig.host, sizeof wrong);
    wrong[3] = wrong[3] == 'a' ? 'b' : 'a';
    int fd = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_socks(&rig, fd, wrong, 80), 0x08, "a mistyped address");
    close(fd);
    fd = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_socks(&rig, fd, rig.host, 0), 0x05, "port 0 is in no descriptor");
    close(fd);
    cr_expect_eq(rig.onion.n_dials, 0u);
}

Test(door, before_the_onion_is_there_the_answer_is_not_ready)
{
    door_set_onion(rig.socks, NULL);
    int fd = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_socks(&rig, fd, rig.host, RIG_PORT), 0x03);
    close(fd);
    door_set_onion(rig.socks, &rig.onion);
    fd = open_stream();
    expect_echo(fd, "now");
    close(fd);
}

/* ---- failures after success ------------------------------------------------------------------ */

Test(door, a_loss_after_success_is_a_reset_never_an_end)
{
    int fd = open_stream();
    expect_echo(fd, "some");
    door_rig_lose(&rig);
    cr_expect_eq(door_rig_how_it_ended(&rig, fd), ECONNRESET);
    cr_expect_eq(counts(rig.socks).resets, 1u);
    close(fd);
}

Test(door, a_refusal_after_an_optimistic_success_is_a_reset)
{
    rig.refuses = true;
    rig.status = ONION_OPEN_REFUSED;
    int fd = open_stream();
    cr_expect_eq(door_rig_how_it_ended(&rig, fd), ECONNRESET);
    close(fd);
}

Test(door, a_loss_while_bytes_wait_for_the_program_is_a_reset_too)
{
    rig.pours = 8 << 20;
    int fd = open_stream();
    door_rig_turn(&rig, 50);
    door_rig_lose(&rig);
    cr_expect_eq(door_rig_how_it_ended(&rig, fd), ECONNRESET);
    close(fd);
}

Test(door, a_program_that_resets_resets_the_far_side)
{
    struct linger none = { 1, 0 };
    int fd = open_stream();
    expect_echo(fd, "x");
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
    door_rig_turn(&rig, 10);
    cr_expect_eq(memory_streams(&rig.onion), 0u);
    cr_expect_eq(rig.onion.n_resets, 1u);
    cr_expect_eq(rig.n_ended, 0u, "the service saw no orderly end");
    cr_expect_eq(counts(rig.socks).conns, 0u);
}

Test(door, a_program_that_leaves_while_dialling_takes_the_dial_back)
{
    rig.onion.never_answers = true;
    int fd = door_rig_connect(&rig, &rig.socks_at);
    struct linger none = { 1, 0 };
    uint8_t rq[80] = { 5, 1, 0, 5, 1, 0, 3, 60 };
    memcpy(rq + 8, rig.host, 60);
    rq[69] = RIG_PORT;
    door_rig_send(&rig, fd, rq, 70);
    cr_expect_eq(memory_streams(&rig.onion), 1u);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
    door_rig_turn(&rig, 10);
    cr_expect_eq(memory_streams(&rig.onion), 0u);
    cr_expect_eq(counts(rig.socks).conns, 0u);
}

/* ---- isolation ------------------------------------------------------------------------------- */

static struct onion_isolation tag_of(const char *user, const char *password)
{
    uint8_t rq[512], got[14];
    struct writer w = writer_on(rq, sizeof rq);
    writer_copy(&w, "\x05\x02\x00\x02\x01", 5);
    writer_u8(&w, (uint8_t)strlen(user));
    writer_copy(&w, user, strlen(user));
    writer_u8(&w, (uint8_t)strlen(password));
    writer_copy(&w, password, strlen(password));
    writer_copy(&w, "\x05\x01\x00\x03\x3c", 5);
    writer_copy(&w, rig.host, 60);
    writer_u16(&w, RIG_PORT);
    int fd = door_rig_connect(&rig, &rig.socks_at);
    door_rig_send(&rig, fd, rq, writer_len(&w));
    cr_assert_eq(door_rig_receive(&rig, fd, got, sizeof got, NULL), sizeof got);
    cr_expect_eq(got[5], SOCKS_OK);
    close(fd);
    return rig.onion.last.isolation;
}

Test(door, streams_of_different_logins_are_kept_apart)
{
    struct onion_isolation a = tag_of("one", "x"), b = tag_of("two", "x"), c = tag_of("one", "y");
    struct onion_isolation again = tag_of("one", "x"), zero = { .tag = { 0 } };
    cr_expect_neq(memcmp(&a, &b, sizeof a), 0);
    cr_expect_neq(memcmp(&a, &c, sizeof a), 0);
    cr_expect_eq(memcmp(&a, &again, sizeof a), 0);
    close(open_stream());
    cr_expect_eq(memcmp(&rig.onion.last.isolation, &zero, sizeof zero), 0);
}

/* ---- petnames -------------------------------------------------------------------------------- */

static void note(void *arg, int code)
{
    cr_expect_eq(code, 0);
    ++*(unsigned *)arg;
}

Test(door, a_petname_is_reached_with_labels_and_in_upper_case)
{
    static const char *const hosts[] = { "blog.cyx", "BLOG.cyx", "www.blog.cyx", "blog.CYX." };
    struct cyx_err err = { 0 };
    unsigned n = 0;
    cr_assert_eq(petnames_set(rig.names, "Blog", rig.address, note, &n, &err), 0, "%s", err.msg);
    door_rig_until(&rig, &n, 1);
    for (size_t i = 0; i < 4; i++) {
        int fd = door_rig_connect(&rig, &rig.socks_at);
        cr_expect_eq(door_rig_socks(&rig, fd, hosts[i], RIG_PORT), SOCKS_OK, "%s", hosts[i]);
        close(fd);
    }
    cr_assert_eq(petnames_remove(rig.names, "blog", note, &n, &err), 0);
    door_rig_until(&rig, &n, 2);
    int fd = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_socks(&rig, fd, "blog.cyx", RIG_PORT), 0x08);
    close(fd);
}

Test(door, refuses_names_that_are_none)
{
    static const char *const bad[] = { "",
                                       "-a",
                                       "a-",
                                       "a.b",
                                       "a b",
                                       "\xc3\xa4",
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
    struct cyx_err err = { 0 };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(petnames_set(rig.names, bad[i], rig.address, NULL, NULL, &err), CYX_EINVAL,
                     "%s", bad[i]);
    cr_expect_eq(petnames_remove(rig.names, "nobody", NULL, NULL, &err), CYX_ENOENT);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void restart(const struct door_options *how)
{
    door_rig_stop(&rig);
    door_rig_start(&rig, how);
}

Test(door, more_connections_than_the_bound_are_reset)
{
    restart(&(struct door_options){ .conns_max = 2 });
    int a = open_stream(), b = open_stream(), c = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_how_it_ended(&rig, c), ECONNRESET);
    cr_expect_eq(counts(rig.socks).turned_away, 1u);
    close(a);
    door_rig_turn(&rig, 10);
    int d = open_stream();
    expect_echo(d, "room again");
    close(b);
    close(c);
    close(d);
}

Test(door, an_idle_connection_is_reset)
{
    restart(&(struct door_options){ .idle_ms = 60 });
    int fd = open_stream();
    for (unsigned i = 0; i < 4; i++) {
        door_rig_turn(&rig, 25);
        expect_echo(fd, "alive");
    }
    cr_expect_eq(door_rig_how_it_ended(&rig, fd), ECONNRESET);
    close(fd);
}

Test(door, success_waits_for_the_far_end_where_it_was_told_to)
{
    restart(&(struct door_options){ .wait_for_answer = true });
    rig.refuses = true;
    rig.status = ONION_OPEN_TIMED_OUT;
    int fd = door_rig_connect(&rig, &rig.socks_at);
    cr_expect_eq(door_rig_socks(&rig, fd, rig.host, RIG_PORT), 0x06);
    close(fd);
    rig.refuses = false;
    fd = open_stream();
    cr_expect(rig.onion.last.wait_for_answer);
    expect_echo(fd, "yes");
    close(fd);
}

Test(door, destroying_a_door_resets_what_goes_through)
{
    int fd = open_stream();
    expect_echo(fd, "x");
    door_destroy(rig.socks);
    rig.socks = NULL;
    cr_expect_eq(door_rig_how_it_ended(&rig, fd), ECONNRESET);
    cr_expect_eq(memory_streams(&rig.onion), 1u, "the service's end is about to hear of it");
    door_rig_turn(&rig, 3);
    cr_expect_eq(memory_streams(&rig.onion), 0u);
    close(fd);
}

Test(door, strangers_are_told_and_counted)
{
    char got[512] = { 0 };
    int over = 0, fd = door_rig_connect(&rig, &rig.socks_at);
    door_rig_send(&rig, fd, "GET / HTTP/1.1\r\n\r\n", 18);
    (void)door_rig_receive(&rig, fd, got, sizeof got - 1, &over);
    cr_expect_not_null(strstr(got, "SOCKS5"));
    cr_expect_eq(over, 1);
    cr_expect_eq(counts(rig.socks).broken, 1u);
    close(fd);
    fd = door_rig_connect(&rig, &rig.tunnel_at);
    door_rig_send(&rig, fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    memset(got, 0, sizeof got);
    (void)door_rig_receive(&rig, fd, got, sizeof got - 1, &over);
    cr_expect_eq(strncmp(got, "HTTP/1.1 405 ", 13), 0);
    cr_expect_eq(over, 1);
    close(fd);
}

/* ---- a lot of bytes -------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__)
enum { IS_SANITIZED = 1 }; /* freed memory stays in quarantine */
#else
enum { IS_SANITIZED = 0 };
#endif

/* Bytes of this process in memory. */
static size_t resident(void)
{
    size_t total = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    cr_assert_not_null(f);
    cr_expect_eq(fscanf(f, "%zu %zu", &total, &pages), 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

Test(door, two_hundred_megabytes_to_a_slow_reader_need_no_memory)
{
    static uint8_t buf[1 << 20];
    uint64_t total = 0;
    int over = 0;
    rig.onion.window = 1 << 20;
    rig.pours = 200ull << 20;
    int fd = open_stream();
    door_rig_turn(&rig, 100); /* nobody reads: it must stop by itself */
    cr_expect_lt(rig.onion.most_waiting, (size_t)(1 << 20) + 1, "the far end was held back");
    size_t before = resident();
    while (over == 0) {
        size_t n = door_rig_receive(&rig, fd, buf, sizeof buf, &over);
        for (size_t i = 0; i < n; i++)
            if (buf[i] != (uint8_t)((total + i) * 31 >> 3))
                cr_assert_fail("byte %zu is another", (size_t)total + i);
        total += n;
    }
    cr_expect_eq(over, 1);
    cr_expect_eq(total, rig.pours);
    cr_expect(IS_SANITIZED || resident() < before + (16u << 20));
    close(fd);
}

Test(door, two_hundred_megabytes_to_a_slow_service_need_no_memory)
{
    static uint8_t block[1 << 20];
    rig.is_counting = true;
    int fd = open_stream();
    size_t before = resident();
    for (unsigned i = 0; i < 200; i++)
        door_rig_send(&rig, fd, block, sizeof block);
    shutdown(fd, SHUT_WR);
    door_rig_until(&rig, &rig.n_ended, 1);
    cr_expect_eq(rig.n_swallowed, 200ull << 20);
    cr_expect(IS_SANITIZED || resident() < before + (16u << 20));
    close(fd);
}

Test(door, a_service_that_takes_nothing_stops_the_program)
{
    static uint8_t block[1 << 16];
    uint64_t sent = 0;
    rig.is_deaf = true;
    int fd = open_stream();
    for (unsigned idle = 0; idle < 50; door_rig_turn(&rig, 1)) {
        ssize_t n = send(fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        idle = n > 0 ? 0 : idle + 1;
        sent += n > 0 ? (uint64_t)n : 0;
        cr_assert_lt(sent, 64u << 20, "somebody hoards");
    }
    cr_expect_leq(rig.onion.most_waiting, (size_t)64 << 10);
    close(fd);
}

/* ---- datagrams ------------------------------------------------------------------------------- */

struct udp_client {
    int tcp, udp;
    struct sockaddr_in to;
};

static struct udp_client associate(void)
{
    struct udp_client c = { .to = { .sin_family = AF_INET } };
    uint8_t got[12];
    struct timeval no_wait = { .tv_usec = 1 };
    c.tcp = door_rig_connect(&rig, &rig.socks_at);
    door_rig_send(&rig, c.tcp, "\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", 13);
    cr_assert_eq(door_rig_receive(&rig, c.tcp, got, 12, NULL), 12u);
    cr_assert(got[3] == SOCKS_OK && got[5] == 1);
    memcpy(&c.to.sin_addr, got + 6, 4);
    memcpy(&c.to.sin_port, got + 10, 2);
    c.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(c.udp, SOL_SOCKET, SO_RCVTIMEO, &no_wait, sizeof no_wait);
    return c;
}

static size_t udp_exchange(struct udp_client *c, const void *data, size_t len, uint8_t *got,
                           size_t cap)
{
    (void)sendto(c->udp, data, len, 0, (struct sockaddr *)&c->to, sizeof c->to);
    for (unsigned i = 0; i < 100; i++) {
        door_rig_turn(&rig, 1);
        ssize_t n = recv(c->udp, got, cap, MSG_DONTWAIT);
        if (n >= 0)
            return (size_t)n;
    }
    return 0;
}

static size_t udp_packet(uint8_t out[static 512], const char *host, uint16_t port, const char *text)
{
    struct writer w = writer_on(out, 512);
    socks_datagram_head(&w, host, strlen(host), port);
    writer_copy(&w, text, strlen(text));
    return writer_len(&w);
}

Test(door, datagrams_are_answered_from_the_name_they_went_to)
{
    uint8_t rq[512], got[512];
    struct udp_client c = associate();
    size_t n = udp_packet(rq, rig.host, RIG_UDP_PORT, "ping");
    cr_expect_eq(udp_exchange(&c, rq, n, got, sizeof got), n);
    cr_expect_eq(memcmp(got, rq, n), 0);
    cr_expect_eq(udp_exchange(&c, rq, n, got, sizeof got), n);
    cr_expect_eq(rig.onion.n_flows, 1u, "one flow for one place");
    close(c.udp);
    close(c.tcp);
    door_rig_turn(&rig, 10);
    cr_expect_eq(counts(rig.socks).conns, 0u);
    cr_expect_eq(counts(rig.socks).datagrams_in, 2u);
}

Test(door, datagrams_of_others_fragments_and_other_names_are_dropped)
{
    uint8_t rq[512], got[512];
    struct udp_client c = associate(), thief = c;
    size_t n = udp_packet(rq, rig.host, RIG_UDP_PORT, "mine");
    cr_expect_eq(udp_exchange(&c, rq, n, got, sizeof got), n);
    thief.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_expect_eq(udp_exchange(&thief, rq, n, got, sizeof got), 0u, "another port");
    rq[2] = 1;
    cr_expect_eq(udp_exchange(&c, rq, n, got, sizeof got), 0u, "a fragment");
    n = udp_packet(rq, "example.org", 53, "leak");
    cr_expect_eq(udp_exchange(&c, rq, n, got, sizeof got), 0u, "not ours");
    cr_expect_eq(rig.onion.n_flows, 1u);
    cr_expect_eq(counts(rig.socks).datagrams_dropped, 3u);
    close(thief.udp);
    close(c.udp);
    close(c.tcp);
}

Test(door, the_datagram_port_goes_with_its_connection)
{
    uint8_t rq[512], got[512];
    struct udp_client c = associate();
    size_t n = udp_packet(rq, rig.host, RIG_UDP_PORT, "x");
    cr_expect_eq(udp_exchange(&c, rq, n, got, sizeof got), n);
    close(c.tcp);
    door_rig_turn(&rig, 10);
    (void)sendto(c.udp, rq, n, 0, (struct sockaddr *)&c.to, sizeof c.to);
    door_rig_turn(&rig, 5);
    cr_expect_eq(counts(rig.socks).datagrams_out, 1u, "nobody listens there any more");
    cr_expect_eq(counts(rig.socks).conns, 0u);
    close(c.udp);
}

Test(door, a_client_that_speaks_to_many_places_keeps_the_latest)
{
    uint8_t rq[512], got[512];
    struct udp_client c = associate();
    for (unsigned i = 0; i < 70; i++) {
        size_t n = udp_packet(rq, rig.host, (uint16_t)(1000 + i), "x");
        (void)sendto(c.udp, rq, n, 0, (struct sockaddr *)&c.to, sizeof c.to);
        door_rig_turn(&rig, 1);
    }
    door_rig_turn(&rig, 5);
    cr_expect_eq(rig.onion.n_flows, 70u);
    size_t open = 0;
    list_each (pos, &rig.onion.flows)
        open++;
    cr_expect_eq(open, 64u);
    (void)got;
    close(c.udp);
    close(c.tcp);
}

/* ---- curl ------------------------------------------------------------------------------------ */

static bool has_curl(void)
{
    char *argv[] = { (char *)(uintptr_t) "curl", (char *)(uintptr_t) "--version", NULL };
    char out[64];
    return door_rig_program(&rig, argv, out, sizeof out) == 0;
}

/* curl's exit status; what it wrote out ("status size") in `out`. */
static int curl(const char *proxy_option, const char *proxy, const char *host, char out[static 64])
{
    char url[128];
    snprintf(url, sizeof url, "http://%s:%d/", host, RIG_PORT);
    const char *const argv[] = { "curl", "-s",
                                 "-S",   "--max-time",
                                 "60",   "--noproxy",
                                 "",     proxy_option,
                                 proxy,  "-p",
                                 "-o",   "/dev/null",
                                 "-w",   "%{http_code} %{size_download}",
                                 url,    NULL };
    return door_rig_program(&rig, (char *const *)(uintptr_t)argv, out, 64);
}

Test(door, curl_fetches_through_both_doors_and_sees_a_loss)
{
    char socks[64], tunnel[64], out[64];
    if (!has_curl())
        cr_skip_test("curl is not installed");
    rig.is_http = true;
    rig.pours = 3 << 20;
    snprintf(socks, sizeof socks, "127.0.0.1:%u", rig.socks_at.port);
    snprintf(tunnel, sizeof tunnel, "http://me:pw@127.0.0.1:%u", rig.tunnel_at.port);
    cr_expect_eq(curl("--socks5-hostname", socks, rig.host, out), 0);
    cr_expect_str_eq(out, "200 3145728");
    cr_expect_eq(curl("--proxy", tunnel, rig.host, out), 0);
    cr_expect_str_eq(out, "200 3145728");
    struct onion_isolation want = socks_isolation("me", 2, "pw", 2);
    cr_expect_arr_eq(rig.onion.last.isolation.tag, want.tag, 16);
    cr_expect_eq(curl("--socks5-hostname", socks, "example.org", out), 97, "CURLE_PROXY");
    cr_expect_eq(curl("--proxy", tunnel, "example.org", out), 56, "CURLE_RECV_ERROR: 403");
    rig.is_http = false;
    rig.pours = 0;
    rig.refuses = true;
    rig.status = ONION_OPEN_UNREACHABLE;
    int status = curl("--socks5-hostname", socks, rig.host, out);
    cr_expect(status == 55 || status == 56, "CURLE_SEND_ERROR or CURLE_RECV_ERROR, not %d", status);
}
