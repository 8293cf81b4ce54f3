#include "base/env.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

bool env_addr_is_v4(const struct env_addr *a)
{
    return memcmp(a->ip, v4_prefix, sizeof v4_prefix) == 0;
}

bool env_addr_equal(const struct env_addr *a, const struct env_addr *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0 && a->port == b->port && a->scope == b->scope;
}

struct env_addr env_addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    struct env_addr out = { .ip = { [10] = 0xff, [11] = 0xff, a, b, c, d }, .port = port };
    return out;
}

const char *env_addr_text(const struct env_addr *a, char out[static ENV_ADDR_TEXT])
{
    char ip[INET6_ADDRSTRLEN];
    if (env_addr_is_v4(a))
        snprintf(out, ENV_ADDR_TEXT, "%u.%u.%u.%u:%u", a->ip[12], a->ip[13], a->ip[14], a->ip[15],
                 a->port);
    else if (a->scope != 0)
        snprintf(out, ENV_ADDR_TEXT, "[%s%%%u]:%u", inet_ntop(AF_INET6, a->ip, ip, sizeof ip),
                 a->scope, a->port);
    else
        snprintf(out, ENV_ADDR_TEXT, "[%s]:%u", inet_ntop(AF_INET6, a->ip, ip, sizeof ip), a->port);
    return out;
}

/* Reads the whole of `text` as a decimal number without sign or leading zeros. */
static bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
        if (v > max)
            return false;
    }
    *out = v;
    return true;
}

/* "ip%scope" without brackets; writes into `text`. */
static bool parse_v6(struct env_addr *a, char *text)
{
    uint64_t scope = 0;
    char *percent = strchr(text, '%');
    if (percent != NULL) {
        *percent = '\0';
        if (!parse_number(percent + 1, UINT32_MAX, &scope) || scope == 0)
            return false;
    }
    a->scope = (uint32_t)scope;
    if (inet_pton(AF_INET6, text, a->ip) != 1)
        return false;
    return scope == 0 || !env_addr_is_v4(a);
}

static bool parse_v4(struct env_addr *a, const char *text)
{
    memcpy(a->ip, v4_prefix, sizeof v4_prefix);
    return inet_pton(AF_INET, text, a->ip + 12) == 1;
}

static bool parse_addr(struct env_addr *a, char *text)
{
    uint64_t port = 0;
    char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || !parse_number(colon + 1, UINT16_MAX, &port))
        return false;
    *colon = '\0';
    a->port = (uint16_t)port;
    if (text[0] != '[')
        return parse_v4(a, text);
    if (colon[-1] != ']')
        return false;
    colon[-1] = '\0';
    return parse_v6(a, text + 1);
}

int env_addr_parse(struct env_addr *out, const char *text, struct cyx_err *err)
{
    char copy[ENV_ADDR_TEXT];
    struct env_addr a = { 0 };
    size_t len = strnlen(text, sizeof copy);
    if (len < sizeof copy) {
        memcpy(copy, text, len + 1);
        if (parse_addr(&a, copy)) {
            *out = a;
            return 0;
        }
    }
    return cyx_fail(err, CYX_EINVAL, "\"%.64s\": want 192.0.2.1:4100 or [2001:db8::1]:4100", text);
}

/* The first byte keeps the two families apart. */
uint64_t env_addr_prefix(const struct env_addr *a)
{
    bool v4 = env_addr_is_v4(a);
    const uint8_t *p = v4 ? a->ip + 12 : a->ip;
    uint64_t prefix = v4 ? 4 : 6;
    for (unsigned i = 0; i < (v4 ? 3u : 6u); i++)
        prefix = prefix << 8 | p[i];
    return prefix;
}

uint32_t env_random_u32(struct env *e)
{
    uint32_t v;
    env_random(e, &v, sizeof v);
    return v;
}

uint64_t env_random_u64(struct env *e)
{
    uint64_t v;
    env_random(e, &v, sizeof v);
    return v;
}

uint64_t env_random_below(struct env *e, uint64_t bound)
{
    if (bound < 2)
        return 0;
    /* 2^64 mod bound values at the bottom would come once too often: draw again. */
    uint64_t skip = (0 - bound) % bound;
    uint64_t v;
    do
        v = env_random_u64(e);
    while (v < skip);
    return v % bound;
}
