#include "node/door_code.h"

/* A stream that is reset or lost before it was answered has no row of its own: a reset counts as
 * the service's refusal to say more, a loss as a pivot that can't be reached, our own end as not
 * being ready. */
struct door_refusal door_code_fail(enum onion_fail why)
{
    switch (why) {
    case ONION_FAIL_NONE:
        return (struct door_refusal){ SOCKS_OK, 200 };
    case ONION_FAIL_NAME:
        return (struct door_refusal){ SOCKS_ADDRESS, 400 };
    case ONION_FAIL_NO_DESCRIPTOR:
    case ONION_FAIL_UNREACHABLE:
    case ONION_FAIL_LOST:
        return (struct door_refusal){ SOCKS_HOST, 502 };
    case ONION_FAIL_NOT_FOR_US:
        return (struct door_refusal){ SOCKS_NOT_ALLOWED, 403 };
    case ONION_FAIL_NO_PORT:
    case ONION_FAIL_REFUSED:
        return (struct door_refusal){ SOCKS_REFUSED, 502 };
    case ONION_FAIL_RESET:
        return (struct door_refusal){ SOCKS_GENERAL, 502 };
    case ONION_FAIL_BUSY:
    case ONION_FAIL_EFFORT:
        return (struct door_refusal){ SOCKS_GENERAL, 503 };
    case ONION_FAIL_TIMEOUT:
        return (struct door_refusal){ SOCKS_TTL, 504 };
    case ONION_FAIL_NOT_READY:
    case ONION_FAIL_CLOSING:
        return (struct door_refusal){ SOCKS_NETWORK, 503 };
    case ONION_FAILS:
        break;
    }
    return (struct door_refusal){ SOCKS_GENERAL, 502 };
}

struct door_refusal door_code_name(enum onion_name_verdict v)
{
    switch (v) {
    case ONION_NAME_OTHER:
        return (struct door_refusal){ SOCKS_NOT_ALLOWED, 403 };
    case ONION_NAME_OK:
    case ONION_NAME_MALFORMED:
    case ONION_NAME_VERSION:
    case ONION_NAME_CHECKSUM:
    case ONION_NAME_KEY:
    case ONION_NAME_VERDICTS:
        break;
    }
    return (struct door_refusal){ SOCKS_ADDRESS, 400 };
}
