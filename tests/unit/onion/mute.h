/* tests/unit/onion/mute.h - a pivot that splices and then forwards nothing. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct onion_relay;

/* The registration under that token: from now on nothing that its service says reaches anybody.
 * False: it isn't there. */
bool mute_registration(struct onion_relay *r, const uint8_t token[static 32]);
