/* base/text_internal.h - UTF-8, as the log, MessagePack and the configuration check it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length (1..4) of the well-formed UTF-8 character at `p` (`len` bytes are there), 0 if it is none:
 * no overlong forms, surrogates or values above U+10FFFF. *code (may be NULL) gets its value. */
size_t base__utf8_char(const uint8_t *p, size_t len, uint32_t *code);

/* True when all `len` bytes are well-formed UTF-8. */
bool base__utf8_valid(const uint8_t *p, size_t len);
