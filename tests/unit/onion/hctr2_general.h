/* tests/unit/onion/hctr2_general.h - HCTR2 with any tweak and any length from 16 bytes on, put
 * together from the portable primitives: the published vectors reach these, and the whole-cell
 * implementations are compared with this. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GENERAL_MAX = 1280, GENERAL_TWEAK_MAX = 64 };

/* POLYVAL with key h of len bytes, a multiple of 16. */
void general_polyval(uint8_t out[static 16], const uint8_t h[static 16], const uint8_t *data,
                     size_t len);
/* In place. */
void general_xctr(const uint8_t key[static 32], const uint8_t nonce[static 16], uint8_t *data,
                  size_t len);
void general_hctr2(const uint8_t key[static 32], const uint8_t *tweak, size_t tweak_len,
                   uint8_t *data, size_t len, bool decipher);
