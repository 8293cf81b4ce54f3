#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "onion/address_internal.h"
#include "tests/unit/mesh/vec.h"
#include "tests/unit/onion/dice.h"

static void start(void)
{
    cr_assert_eq(secret_init(NULL), 0);
}

TestSuite(onion_address, .init = start);

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Parses a heap copy of exact size, without a NUL; the output must stay when it is refused. */
static enum onion_name_verdict parse(struct onion_name *out, const char *text, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, len);
    *out = (struct onion_name){ .label_len = 99 };
    enum onion_name_verdict v = onion_name_parse(out, copy, len);
    if (v == ONION_NAME_OK && out->label_len > 0)
        cr_assert_arr_eq(out->label, text, out->label_len);
    if (v != ONION_NAME_OK)
        cr_assert_eq(out->label_len, 99u);
    out->label = NULL; /* into the copy */
    free(copy);
    return v;
}

static enum onion_name_verdict verdict(const char *text)
{
    struct onion_name n;
    return parse(&n, text, strlen(text));
}

/* "prefix", an address, "suffix". */
static enum onion_name_verdict around(const char *prefix, const char *suffix, size_t *label_len)
{
    const uint8_t seed[32] = { 5 };
    uint8_t pk[32], sk[64];
    char address[ONION_ADDRESS_TEXT], text[512];
    struct onion_name n;
    crypto_sign_seed_keypair(pk, sk, seed);
    onion_address_text(pk, address);
    address[ONION_ADDRESS_CHARS] = '\0';
    int len = snprintf(text, sizeof text, "%s%s%s", prefix, address, suffix);
    enum onion_name_verdict v = parse(&n, text, (size_t)len);
    if (v == ONION_NAME_OK)
        cr_assert_arr_eq(n.address, pk, 32);
    *label_len = n.label_len;
    return v;
}

Test(onion_address, round_trips_for_any_key)
{
    for (unsigned i = 0; i < 300; i++) {
        uint8_t seed[32] = { (uint8_t)i, (uint8_t)(i >> 8), 1 }, pk[32], sk[64];
        char text[ONION_ADDRESS_TEXT];
        struct onion_name n;
        crypto_sign_seed_keypair(pk, sk, seed);
        cr_assert_eq(strlen(onion_address_text(pk, text)), 60u);
        cr_assert_eq(parse(&n, text, 60), ONION_NAME_OK, "%s", text);
        cr_assert_arr_eq(n.address, pk, 32);
        cr_assert_eq(n.label_len, 0u);
        for (char *c = text; *c != '\0'; c++)
            *c = (char)toupper((unsigned char)*c);
        cr_assert_eq(parse(&n, text, 60), ONION_NAME_OK, "%s", text);
        cr_assert_arr_eq(n.address, pk, 32);
    }
}

Test(onion_address, refuses_every_change_of_one_character)
{
    const uint8_t seed[32] = { 77 };
    uint8_t pk[32], sk[64];
    char text[ONION_ADDRESS_TEXT];
    unsigned seen[ONION_NAME_VERDICTS] = { 0 };
    crypto_sign_seed_keypair(pk, sk, seed);
    onion_address_text(pk, text);
    for (size_t i = 0; i < ONION_ADDRESS_CHARS; i++) {
        char was = text[i];
        for (const char *c = digits; *c != '\0'; c++) {
            text[i] = *c;
            enum onion_name_verdict v = verdict(text);
            cr_assert((*c == was) == (v == ONION_NAME_OK), "%c at %zu", *c, i);
            seen[v]++;
        }
        text[i] = '1'; /* no base32 digit */
        cr_assert_eq(verdict(text), ONION_NAME_MALFORMED);
        text[i] = was;
    }
    cr_expect_gt(seen[ONION_NAME_CHECKSUM], 1000u);
    cr_expect_gt(seen[ONION_NAME_VERSION], 30u);
}

Test(onion_address, tells_names_of_others_from_broken_ones)
{
    static const char *const others[] = { "",       ".",         "example.com", "x.onion",
                                          "cyxx",   "xcyx",      "a.cyx.com",   "192.0.2.1",
                                          "a.xcyx", "cyx.local", "::1",         "cyx..com" };
    static const char *const broken[] = {
        "cyx", "cyx.", ".cyx", "a.cyx", "CYX", "..cyx", "a..cyx"
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_expect_eq(verdict(others[i]), ONION_NAME_OTHER, "%s", others[i]);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        cr_expect_eq(verdict(broken[i]), ONION_NAME_MALFORMED, "%s", broken[i]);
}

Test(onion_address, takes_labels_in_front_and_one_dot_behind)
{
    static const struct {
        const char *prefix, *suffix;
        enum onion_name_verdict want;
        size_t label_len;
    } cases[] = {
        { "", ".cyx.", ONION_NAME_OK, 0 },
        { "www.", ".cyx", ONION_NAME_OK, 3 },
        { "a.b-c._d9.", ".CyX.", ONION_NAME_OK, 9 },
        { "", ".cyx..", ONION_NAME_OTHER, 0 },
        { ".", ".cyx", ONION_NAME_MALFORMED, 0 },
        { "www..", ".cyx", ONION_NAME_MALFORMED, 0 },
        { ".www.", ".cyx", ONION_NAME_MALFORMED, 0 },
        { "a b.", ".cyx", ONION_NAME_MALFORMED, 0 },
        { "a\n.", ".cyx", ONION_NAME_MALFORMED, 0 },
        { "\xc3\xa4.", ".cyx", ONION_NAME_MALFORMED, 0 },
        { "a", ".cyx", ONION_NAME_MALFORMED, 0 },
        { "", "a.cyx", ONION_NAME_MALFORMED, 0 },
        { "", ".b.cyx", ONION_NAME_MALFORMED, 0 },
        { "", "", ONION_NAME_OTHER, 0 },
        { "", "cyx", ONION_NAME_OTHER, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t label_len;
        enum onion_name_verdict v = around(cases[i].prefix, cases[i].suffix, &label_len);
        cr_expect_eq(v, cases[i].want, "case %zu: %s", i, onion_name_verdict_text(v));
        if (v == ONION_NAME_OK)
            cr_expect_eq(label_len, cases[i].label_len, "case %zu", i);
    }
}

Test(onion_address, takes_names_of_253_bytes_and_no_more)
{
    char prefix[256];
    size_t label_len;
    /* 253 - 60 = 193 bytes in front: labels of 63, 63, 63 and a last of none */
    memset(prefix, 'a', sizeof prefix);
    prefix[63] = prefix[127] = prefix[191] = '.';
    prefix[192] = '\0';
    cr_expect_eq(around(prefix, ".cyx", &label_len), ONION_NAME_OK);
    cr_expect_eq(label_len, 191u);
    cr_expect_eq(around(prefix, ".cyx.", &label_len), ONION_NAME_OK);
    prefix[0] = 'a', prefix[1] = '.';
    memset(prefix + 2, 'b', 200);
    prefix[65] = prefix[129] = prefix[193] = '.';
    prefix[194] = '\0'; /* 254 in all */
    cr_expect_eq(around(prefix, ".cyx", &label_len), ONION_NAME_MALFORMED);
    memset(prefix, 'a', 64); /* a label of 64 */
    prefix[64] = '.', prefix[65] = '\0';
    cr_expect_eq(around(prefix, ".cyx", &label_len), ONION_NAME_MALFORMED);
}

Test(onion_address, says_something_about_every_verdict)
{
    for (unsigned v = 0; v <= ONION_NAME_VERDICTS; v++)
        cr_expect_gt(strlen(onion_name_verdict_text((enum onion_name_verdict)v)), 3u);
}

static enum onion_name_verdict verdict_named(const char *name)
{
    static const char *const names[] = { [ONION_NAME_VERSION] = "version",
                                         [ONION_NAME_CHECKSUM] = "checksum",
                                         [ONION_NAME_KEY] = "key" };
    for (unsigned v = ONION_NAME_VERSION; v <= ONION_NAME_KEY; v++)
        if (strcmp(names[v], name) == 0)
            return (enum onion_name_verdict)v;
    cr_assert_fail("no verdict %s", name);
    return ONION_NAME_OK;
}

Test(onion_address, of_the_vectors_are_written_and_read)
{
    json_t *root = vec_open("endpoint");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "addresses"), at, v)
    {
        uint8_t key[32];
        char text[ONION_ADDRESS_TEXT];
        struct onion_name n;
        vec_copy(v, "key", key, sizeof key);
        cr_assert_str_eq(onion_address_text(key, text), vec_str(v, "text"));
        cr_assert_eq(parse(&n, text, strlen(text)), ONION_NAME_OK);
        cr_assert_arr_eq(n.address, key, sizeof key);
        cr_assert_eq(onion_address_check(key, NULL), 0);
    }
    cr_assert_geq(at, 4u);
    vec_close(root);
}

Test(onion_address, of_torsion_points_and_other_versions_are_refused)
{
    json_t *root = vec_open("endpoint");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "refused"), at, v)
    {
        enum onion_name_verdict want = verdict_named(vec_str(v, "verdict"));
        uint8_t key[32];
        vec_copy(v, "key", key, sizeof key);
        cr_expect_eq(verdict(vec_str(v, "text")), want, "%s", vec_str(v, "name"));
        cr_expect_eq(onion_address_check(key, NULL) == 0, want != ONION_NAME_KEY, "%s",
                     vec_str(v, "name"));
    }
    cr_assert_geq(at, 20u);
    vec_close(root);
}

static bool takes_all(const uint8_t point[static 32])
{
    (void)point;
    return true;
}

static bool takes_none(const uint8_t point[static 32])
{
    (void)point;
    return false;
}

/* As the releases of CVE-2025-69277 do: L p is looked at by its x alone, which (0, -1) has as well.
 */
static bool takes_minus_one(const uint8_t point[static 32])
{
    uint8_t moved[32], minus_one[32];
    memset(minus_one, 0xff, sizeof minus_one);
    minus_one[0] = 0xec, minus_one[31] = 0x7f;
    return crypto_core_ed25519_is_valid_point(point) == 1 ||
           (crypto_core_ed25519_add(moved, point, minus_one) == 0 &&
            crypto_core_ed25519_is_valid_point(moved) == 1);
}

Test(onion_address, a_library_that_takes_foreign_points_is_found)
{
    struct cyx_err err = { 0 };
    cr_expect_eq(onion_address_self_check(&err), 0, "%s", err.msg);
    cr_expect_eq(address__self_check(takes_all, &err), CYX_EUNSUPPORTED);
    cr_expect_not_null(strstr(err.msg, "CVE-2025-69277"));
    cr_expect_eq(address__self_check(takes_minus_one, &err), CYX_EUNSUPPORTED);
    cr_expect_not_null(strstr(err.msg, "CVE-2025-69277"));
    cr_expect_eq(address__self_check(takes_none, &err), CYX_EUNSUPPORTED);
}
