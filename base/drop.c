#include "base/drop.h"

const char *drop_name(enum drop d)
{
    static const char *const names[DROP_COUNT_] = {
        [DROP_NONE] = "none",           [DROP_SHORT] = "short",     [DROP_LONG] = "long",
        [DROP_TYPE] = "type",           [DROP_VERSION] = "version", [DROP_FIELD] = "field",
        [DROP_LIMIT] = "limit",         [DROP_MAC] = "mac",         [DROP_COOKIE] = "cookie",
        [DROP_REPLAY] = "replay",       [DROP_AUTH] = "auth",       [DROP_KEY] = "key",
        [DROP_SIGNATURE] = "signature", [DROP_PROOF] = "proof",     [DROP_EXPIRED] = "expired",
        [DROP_STALE] = "stale",         [DROP_STATE] = "state",     [DROP_UNKNOWN] = "unknown",
        [DROP_LOAD] = "load",           [DROP_MEMORY] = "memory",
    };
    if ((unsigned)d >= DROP_COUNT_)
        return "invalid";
    return names[d];
}
