/* onion/address.h - names of hidden endpoints: base32 of a key, a checksum and a version, and
 * ".cyx". Self-certifying: whoever answers must prove that key. Pure. Spec: protocol.md, section
 * 12, "Address". */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    ONION_ADDRESS = 32,       /* A, an Ed25519 public key */
    ONION_ADDRESS_CHARS = 56, /* base32 of 35 bytes: no character and no bit is left over */
    ONION_ADDRESS_TEXT = 61,  /* those, ".cyx" and NUL */
    ONION_NAME_MAX = 253,     /* a host name, without a dot at its end */
};

/* What a name turned out to be: front doors answer with a code for each (section 14). */
enum onion_name_verdict {
    ONION_NAME_OK,
    ONION_NAME_OTHER,     /* not under .cyx: not ours, and never looked up elsewhere */
    ONION_NAME_MALFORMED, /* wrong length, a character that doesn't belong there, an empty label */
    ONION_NAME_VERSION,   /* of an address version that this node doesn't know */
    ONION_NAME_CHECKSUM,  /* most likely mistyped */
    ONION_NAME_KEY,       /* its key is no canonical point of the prime-order group */
    ONION_NAME_VERDICTS,
};

struct onion_name {
    uint8_t address[ONION_ADDRESS];
    const char *label; /* what stands before the address ("www", "a.b"); borrowed from the text */
    size_t label_len;  /* without the dot; 0: nothing */
};

/* The text of an address, lower case; returns `out`. */
const char *onion_address_text(const uint8_t address[static ONION_ADDRESS],
                               char out[static ONION_ADDRESS_TEXT]);
/* Reads a host name of `len` bytes: upper case and one dot at the end are fine, and so are labels
 * of letters, digits, hyphens and underscores in front. *out is written on ONION_NAME_OK only. */
enum onion_name_verdict onion_name_parse(struct onion_name *out, const char *text, size_t len);
/* For people: "the checksum is wrong: mistyped?". */
const char *onion_name_verdict_text(enum onion_name_verdict v);

/* Is it a canonical point of the prime-order group? Else one endpoint would have eight names. */
CYX_MUST_USE int onion_address_check(const uint8_t address[static ONION_ADDRESS],
                                     struct cyx_err *err); /* 0 or CYX_EINVAL */
/* At start, after secret_init: does this machine's libsodium refuse points outside that group? Some
 * releases take A + (0, -1) for one inside (CVE-2025-69277). 0, or CYX_EUNSUPPORTED: don't run. */
CYX_MUST_USE int onion_address_self_check(struct cyx_err *err);
