#include "onion/address.h"

#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/writer.h"
#include "onion/address_internal.h"

enum {
    VERSION = 1,
    CHECKSUM = 2,
    RAW = ONION_ADDRESS + CHECKSUM + 1, /* 35 */
    LABEL_MAX = 63,
    SUFFIX = 4, /* ".cyx" */
};

_Static_assert(RAW * 8 == ONION_ADDRESS_CHARS * 5, "no bits are left over");
_Static_assert(ONION_ADDRESS_CHARS + SUFFIX + 1 == ONION_ADDRESS_TEXT, "and a NUL");

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648 */

static void checksum(uint8_t out[static CHECKSUM], const uint8_t address[static ONION_ADDRESS])
{
    const uint8_t version = VERSION;
    const struct bytes x[] = { BYTES(address, ONION_ADDRESS), BYTES(&version, 1) };
    uint8_t h[CRYPTO_HASH];
    crypto_h(h, "cyx address", x, 2);
    memcpy(out, h, CHECKSUM);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void base32_write(char *out, const uint8_t raw[static RAW])
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < RAW; i++) {
        bits = bits << 8 | raw[i];
        for (n_bits += 8; n_bits >= 5; n_bits -= 5)
            *out++ = alphabet[bits >> (n_bits - 5) & 31];
    }
}

const char *onion_address_text(const uint8_t address[static ONION_ADDRESS],
                               char out[static ONION_ADDRESS_TEXT])
{
    uint8_t raw[RAW], sum[CHECKSUM];
    struct writer w = writer_on(raw, sizeof raw);
    checksum(sum, address);
    writer_copy(&w, address, ONION_ADDRESS);
    writer_copy(&w, sum, sizeof sum);
    writer_u8(&w, VERSION);
    base32_write(out, raw);
    memcpy(out + ONION_ADDRESS_CHARS, ".cyx", SUFFIX + 1);
    return out;
}

/* ---- reading --------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The value of a base32 digit, or -1. */
static int digit(char c)
{
    c = lower(c);
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

static bool base32_read(uint8_t raw[static RAW], const char *text)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < ONION_ADDRESS_CHARS; i++) {
        int v = digit(text[i]);
        if (v < 0)
            return false;
        bits = bits << 5 | (uint32_t)v;
        n_bits += 5;
        if (n_bits >= 8) {
            n_bits -= 8;
            raw[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return true;
}

static bool is_in_label(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels with dots between them, none empty. */
static bool are_labels(const char *text, size_t len)
{
    size_t run = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_dot = text[i] == '.';
        if (is_dot ? run == 0 : (!is_in_label(text[i]) || run == LABEL_MAX))
            return false;
        run = is_dot ? 0 : run + 1;
    }
    return run > 0;
}

/* Is the last label "cyx"? */
static bool is_ours(const char *text, size_t len)
{
    if (len < SUFFIX - 1 || (len >= SUFFIX && text[len - SUFFIX] != '.'))
        return false;
    const char *last = text + len - (SUFFIX - 1);
    return lower(last[0]) == 'c' && lower(last[1]) == 'y' && lower(last[2]) == 'x';
}

static enum onion_name_verdict address_read(uint8_t address[static ONION_ADDRESS], const char *text)
{
    uint8_t raw[RAW] = { 0 }, sum[CHECKSUM], want[CHECKSUM];
    if (!base32_read(raw, text))
        return ONION_NAME_MALFORMED;
    struct reader r = reader_on(raw, sizeof raw);
    reader_copy(&r, address, ONION_ADDRESS);
    reader_copy(&r, sum, sizeof sum);
    /* First: how another version is laid out is not ours to know. */
    if (reader_u8(&r) != VERSION)
        return ONION_NAME_VERSION;
    checksum(want, address);
    if (memcmp(sum, want, sizeof want) != 0)
        return ONION_NAME_CHECKSUM;
    return crypto_core_ed25519_is_valid_point(address) == 1 ? ONION_NAME_OK : ONION_NAME_KEY;
}

enum onion_name_verdict onion_name_parse(struct onion_name *out, const char *text, size_t len)
{
    struct onion_name n = { .label = text };
    if (len > 0 && text[len - 1] == '.')
        len--; /* the root's: a whole name */
    if (!is_ours(text, len))
        return ONION_NAME_OTHER;
    if (len > ONION_NAME_MAX || len < ONION_ADDRESS_CHARS + SUFFIX || !are_labels(text, len))
        return ONION_NAME_MALFORMED;
    size_t before = len - ONION_ADDRESS_CHARS - SUFFIX;
    if (before == 1 || (before > 1 && text[before - 1] != '.'))
        return ONION_NAME_MALFORMED; /* more than an address in the label before ".cyx" */
    n.label_len = before > 0 ? before - 1 : 0;
    enum onion_name_verdict v = address_read(n.address, text + before);
    if (v == ONION_NAME_OK)
        *out = n;
    return v;
}

const char *onion_name_verdict_text(enum onion_name_verdict v)
{
    static const char *const texts[ONION_NAME_VERDICTS] = {
        [ONION_NAME_OK] = "fine",
        [ONION_NAME_OTHER] = "not a .cyx name",
        [ONION_NAME_MALFORMED] = "not 56 letters and digits (a to z, 2 to 7) before .cyx",
        [ONION_NAME_VERSION] = "its version is unknown: mistyped, or from a newer network",
        [ONION_NAME_CHECKSUM] = "its checksum is wrong: mistyped?",
        [ONION_NAME_KEY] = "its key is none",
    };
    return (unsigned)v < ONION_NAME_VERDICTS ? texts[v] : "unknown";
}

/* ---- points ---------------------------------------------------------------------------------- */

int onion_address_check(const uint8_t address[static ONION_ADDRESS], struct cyx_err *err)
{
    if (crypto_core_ed25519_is_valid_point(address) == 1)
        return 0;
    return cyx_fail(err, CYX_EINVAL, "address: the key is no point of the prime-order group");
}

/* A point of order 8: added to one of the prime-order group it leads through all seven others with
 * the same multiple, (0, -1) in the middle, and back. */
static const uint8_t order8[32] = { 0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0,
                                    0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
                                    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39,
                                    0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05 };

int address__self_check(address__takes_fn takes, struct cyx_err *err)
{
    static const uint8_t two[32] = { 2 };
    uint8_t start[32], p[32];
    if (crypto_scalarmult_ed25519_base_noclamp(start, two) != 0 || !takes(start))
        return cyx_fail(err, CYX_EUNSUPPORTED, "libsodium %s refuses a good Ed25519 point",
                        sodium_version_string());
    memcpy(p, start, sizeof p);
    for (unsigned i = 1; i < 8; i++)
        if (crypto_core_ed25519_add(p, p, order8) != 0 || takes(p))
            return cyx_fail(err, CYX_EUNSUPPORTED,
                            "libsodium %s takes Ed25519 points outside the prime-order group "
                            "(CVE-2025-69277): update it",
                            sodium_version_string());
    if (crypto_core_ed25519_add(p, p, order8) != 0 || memcmp(p, start, sizeof p) != 0)
        return cyx_fail(err, CYX_EUNSUPPORTED, "libsodium %s adds Ed25519 points wrongly",
                        sodium_version_string());
    return 0;
}

static bool check_takes(const uint8_t point[static 32])
{
    return crypto_core_ed25519_is_valid_point(point) == 1;
}

static bool multiplication_takes(const uint8_t point[static 32])
{
    static const uint8_t three[32] = { 3 };
    uint8_t q[32];
    return crypto_scalarmult_ed25519_noclamp(q, three, point) == 0;
}

int onion_address_self_check(struct cyx_err *err)
{
    int code = address__self_check(check_takes, err);
    return code != 0 ? code : address__self_check(multiplication_takes, err);
}
