#include <criterion/criterion.h>
#include <string.h>

#include "base/env.h"

static const struct {
    const char *text;
    uint8_t ip[16];
    uint16_t port;
    uint32_t scope;
} addresses[] = {
    { "192.0.2.1:4100", { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 }, 4100, 0 },
    { "0.0.0.0:0", { [10] = 0xff, [11] = 0xff }, 0, 0 },
    { "255.255.255.255:65535", { [10] = 0xff, [11] = 0xff, 255, 255, 255, 255 }, 65535, 0 },
    { "[::]:0", { 0 }, 0, 0 },
    { "[::1]:1", { [15] = 1 }, 1, 0 },
    { "[2001:db8::1]:4100", { 0x20, 1, 0x0d, 0xb8, [15] = 1 }, 4100, 0 },
    { "[fe80::1%3]:4100", { 0xfe, 0x80, [15] = 1 }, 4100, 3 },
    { "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535",
      { 0xfe, 0x80, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x66, 0x66, 0x77,
        0x77 },
      65535,
      UINT32_MAX },
};

Test(env_addr, text_and_parse_are_each_other_s_inverse)
{
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct env_addr a, want = { .port = addresses[i].port, .scope = addresses[i].scope };
        char text[ENV_ADDR_TEXT];
        memcpy(want.ip, addresses[i].ip, 16);
        cr_assert_eq(env_addr_parse(&a, addresses[i].text, NULL), 0, "%s", addresses[i].text);
        cr_expect(env_addr_equal(&a, &want), "%s", addresses[i].text);
        cr_expect_str_eq(env_addr_text(&a, text), addresses[i].text);
    }
}

static const char *const refused[] = {
    "",
    ":",
    "1",
    ":80",
    "1.2.3.4",
    "1.2.3.4:",
    "1.2.3:80",
    "1.2.3.4.5:8",
    "256.1.1.1:1",
    "1.2.3.4:65536",
    "1.2.3.4:-1",
    "1.2.3.4:+1",
    "1.2.3.4:01",
    "1.2.3.4: 1",
    " 1.2.3.4:1",
    "1.2.3.4:1 ",
    "1.2.3.4:1x",
    "01.2.3.4:1",
    "::1:80",
    "[::1]",
    "[::1]:",
    "[::1]80",
    "[::1:80",
    "::1]:80",
    "[]:80",
    "[:::]:80",
    "[1.2.3.4]:80",
    "[::1%]:1",
    "[::1%0]:1",
    "[::1%eth0]:1",
    "[::1%01]:1",
    "[::1%4294967296]:1",
    "[::ffff:1.2.3.4%1]:1",
    "localhost:80",
    "[localhost]:80",
    "[fe80:1111:2222:3333:4444:5555:6666:7777%42949672950000000000]:65535",
    "1.2.3.4:99999999999999999999999999999999999999999999999999999999999999999999",
};

Test(env_addr, refuses_everything_else_and_leaves_its_output_alone)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct env_addr a = { .port = 77 };
        struct cyx_err err = { 0 };
        cr_expect_eq(env_addr_parse(&a, refused[i], &err), CYX_EINVAL, "%s", refused[i]);
        cr_expect_eq(a.port, 77, "%s", refused[i]);
        cr_expect_eq(err.code, CYX_EINVAL);
    }
}

Test(env_addr, v4_is_told_from_v6)
{
    struct env_addr a = env_addr_v4(10, 1, 2, 3, 9), b;
    cr_expect(env_addr_is_v4(&a));
    cr_assert_eq(env_addr_parse(&b, "10.1.2.3:9", NULL), 0);
    cr_expect(env_addr_equal(&a, &b));
    cr_assert_eq(env_addr_parse(&b, "[::10.1.2.3]:9", NULL), 0);
    cr_expect_not(env_addr_is_v4(&b));
    cr_expect_not(env_addr_equal(&a, &b));
}

Test(env_addr, equality_looks_at_port_and_scope)
{
    struct env_addr a = env_addr_v4(1, 2, 3, 4, 5), b = a;
    cr_expect(env_addr_equal(&a, &b));
    b.port++;
    cr_expect_not(env_addr_equal(&a, &b));
    b = a;
    b.scope = 1;
    cr_expect_not(env_addr_equal(&a, &b));
}

static uint64_t prefix_of(const char *text)
{
    struct env_addr a;
    cr_assert_eq(env_addr_parse(&a, text, NULL), 0);
    return env_addr_prefix(&a);
}

Test(env_addr, prefixes_are_24_and_48_bits_and_families_never_meet)
{
    cr_expect_eq(prefix_of("192.0.2.1:1"), prefix_of("192.0.2.254:2"));
    cr_expect_neq(prefix_of("192.0.2.1:1"), prefix_of("192.0.3.1:1"));
    cr_expect_eq(prefix_of("[2001:db8:7:1::1]:1"), prefix_of("[2001:db8:7:ffff::9]:1"));
    cr_expect_neq(prefix_of("[2001:db8:7::1]:1"), prefix_of("[2001:db8:8::1]:1"));
    cr_expect_neq(prefix_of("0.0.0.0:1"), prefix_of("[::]:1"));
    cr_expect_neq(prefix_of("1.2.3.0:1"), prefix_of("[0:0:1:203::]:1"));
}

/* An environment that is nothing but a counter. */
struct counting_env {
    struct env env;
    uint64_t next;
    unsigned draws;
};

static void count_random(struct env *e, void *buf, size_t n)
{
    struct counting_env *c = container_of(e, struct counting_env, env);
    memcpy(buf, &c->next, n);
    c->next += 0x9e3779b97f4a7c15u;
    c->draws++;
}

static const struct env_ops counting_ops = { .random = count_random };

Test(env_random, below_stays_below_and_reaches_every_value)
{
    struct counting_env c = { .env = { .ops = &counting_ops } };
    for (uint64_t bound = 1; bound < 40; bound++) {
        unsigned hits[40] = { 0 };
        for (unsigned i = 0; i < 4000; i++) {
            uint64_t v = env_random_below(&c.env, bound);
            cr_assert_lt(v, bound);
            hits[v]++;
        }
        for (uint64_t v = 0; v < bound; v++)
            cr_expect_gt(hits[v], 4000 / bound / 2, "%lu of %lu", v, bound);
    }
    cr_expect_eq(env_random_below(&c.env, 0), 0);
}

Test(env_random, below_draws_again_where_modulo_would_be_biased)
{
    /* 2^64 mod (2^63 + 1) = 2^63 - 1: the lowest 2^63 - 1 draws are thrown away. */
    struct counting_env c = { .env = { .ops = &counting_ops }, .next = 5 };
    const uint64_t bound = (1ull << 63) + 1;
    cr_expect_lt(env_random_below(&c.env, bound), bound);
    cr_expect_gt(c.draws, 1);
    c.next = bound - 2; /* the first value that counts */
    c.draws = 0;
    cr_expect_eq(env_random_below(&c.env, bound), bound - 2);
    cr_expect_eq(c.draws, 1);
}

Test(env_random, words_come_from_the_environment)
{
    struct counting_env c = { .env = { .ops = &counting_ops }, .next = 0x1122334455667788u };
    cr_expect_eq(env_random_u64(&c.env), 0x1122334455667788u);
    c.next = 0x0102030405060708u;
    cr_expect_eq(env_random_u32(&c.env), 0x05060708u); /* this test's machine is little-endian */
}
