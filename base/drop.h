/* base/drop.h - why bytes from a stranger were dropped. Weather, not errors: a parser returns one
 * of these, the caller bumps a counter (see mesh metrics), nothing is formatted on that path. */
#pragma once

enum drop {
    DROP_NONE = 0,
    DROP_SHORT,     /* truncated */
    DROP_LONG,      /* longer than its type allows */
    DROP_TYPE,      /* unknown message, frame or record type */
    DROP_VERSION,   /* a version this node does not speak */
    DROP_FIELD,     /* a field out of range, trailing bytes, non-minimal encoding */
    DROP_LIMIT,     /* a count, depth or size above its bound */
    DROP_MAC,       /* mac1 is wrong */
    DROP_COOKIE,    /* mac2 is wrong or missing while under load */
    DROP_REPLAY,    /* counter, sequence or ephemeral seen before */
    DROP_AUTH,      /* AEAD tag wrong */
    DROP_KEY,       /* all-zero shared point, key not canonical or not the promised one */
    DROP_SIGNATURE, /* Ed25519 signature wrong */
    DROP_PROOF,     /* proof of work wrong or too small */
    DROP_EXPIRED,   /* expiry passed, or too far ahead */
    DROP_STALE,     /* an older sequence than the one held */
    DROP_STATE,     /* valid message, wrong state */
    DROP_UNKNOWN,   /* receiver index, path or call nobody here knows */
    DROP_LOAD,      /* a budget is used up */
    DROP_MEMORY,    /* no memory or no buffer */
    DROP_COUNT_     /* how many reasons there are */
};

/* The reason as one lower-case word for metrics and logs ("short", "replay"). */
const char *drop_name(enum drop d);
