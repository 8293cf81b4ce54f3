/* onion/address_internal.h - the self-check with the judge handed in, so that a test can show that
 * a bad one is found. */
#pragma once
#include <stdbool.h>

#include "onion/address.h"

/* Whether libsodium takes a point as one of the prime-order group. */
typedef bool (*address__takes_fn)(const uint8_t point[static 32]);
int address__self_check(address__takes_fn takes, struct cyx_err *err);
