/* node/door_code.h - what front doors answer when something can't be reached: the table of
 * protocol.md, section 14, and nothing else. Pure. */
#pragma once
#include "onion/address.h"
#include "onion/onion.h"

/* RFC 1928, section 6. */
enum socks_code {
    SOCKS_OK = 0x00,
    SOCKS_GENERAL = 0x01,
    SOCKS_NOT_ALLOWED = 0x02,
    SOCKS_NETWORK = 0x03,
    SOCKS_HOST = 0x04,
    SOCKS_REFUSED = 0x05,
    SOCKS_TTL = 0x06,
    SOCKS_COMMAND = 0x07,
    SOCKS_ADDRESS = 0x08,
    SOCKS_CODES
};

/* What stands in the way, before or after a dial. */
struct door_refusal {
    uint8_t socks;   /* enum socks_code */
    uint16_t status; /* of HTTP */
};

struct door_refusal door_code_fail(enum onion_fail why);
/* For a name that is no address (never called with ONION_NAME_OK). */
struct door_refusal door_code_name(enum onion_name_verdict v);
