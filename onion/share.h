/* onion/share.h - a rate that many want, shared fairly: by prefix first, then by link within a
 * prefix. Whoever stays within its part is let through as long as the rate is kept; what the others
 * leave over is there for who wants more. Pure: the time comes in. Spec: protocol.md, section 16.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct onion_share;

enum { ONION_SHARE_REST_S = 10 }; /* who asked within this counts among those who share */

/* rate: tokens a second in all; burst: most held. NULL: no memory. */
struct onion_share *onion_share_create(uint64_t rate, uint64_t burst);
void onion_share_destroy(struct onion_share *s); /* NULL is fine */
/* One token for `link` in `prefix`. False: none, or no memory for the account. */
bool onion_share_take(struct onion_share *s, uint64_t prefix, uint64_t link, uint64_t now_ns);
size_t onion_share_prefixes(const struct onion_share *s); /* that share now */
