/* The metrics port's request parser. What it accepts is held against the simplest reading of the
 * rules; every shorter piece of an accepted head must ask for more. */
#include <stdlib.h>
#include <string.h>

#include "node/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int parse(const uint8_t *data, size_t len, struct http_request *rq, size_t *used)
{
    uint8_t *copy = calloc(1, len > 0 ? len : 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, len);
    int status = http_parse(rq, copy, len, used);
    free(copy);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct http_request rq = { .is_get = false }, again;
    size_t used = 0, used_again = 0;
    uint8_t none = 0;
    if (len == 0)
        data = &none;
    int status = parse(data, len, &rq, &used);
    if (status != 200)
        return 0;
    if (used < 4 || used > len || memcmp(data + used - 4, "\r\n\r\n", 4) != 0)
        abort();
    if (rq.is_get == rq.is_head || rq.target[0] != '/' || strlen(rq.target) >= HTTP_TARGET_MAX)
        abort();
    if (parse(data, used - 1, &again, &used_again) != 0)
        abort();
    if (parse(data, used, &again, &used_again) != 200 || used_again != used)
        abort();
    return 0;
}
