/* HTTP CONNECT: what is accepted is held against the simplest reading of the rules; every shorter
 * piece of an accepted head must ask for more. */
#include <stdlib.h>
#include <string.h>

#include "node/tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int parse(const uint8_t *data, size_t len, struct tunnel_request *q, size_t *used)
{
    uint8_t *copy = calloc(1, len > 0 ? len : 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, len);
    int status = tunnel_parse(q, copy, len, used);
    free(copy);
    return status;
}

static bool is_known(int status)
{
    static const int all[] = { 0, 200, 400, 405, 414, 431, 501, 505 };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i] == status)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct tunnel_request q = { .host_len = 0 }, again;
    size_t used = 0, used_again = 0;
    uint8_t none = 0;
    if (len == 0)
        data = &none;
    int status = parse(data, len, &q, &used);
    if (!is_known(status))
        abort();
    if (status != 200)
        return 0;
    if (used < 4 || used > len || memcmp(data + used - 4, "\r\n\r\n", 4) != 0 ||
        memcmp(data, "CONNECT ", 8) != 0)
        abort();
    if (q.host_len == 0 || q.host_len != strlen(q.host) ||
        memcmp(data + 8, q.host, q.host_len) != 0)
        abort();
    if (parse(data, used - 1, &again, &used_again) != 0)
        abort();
    if (parse(data, used, &again, &used_again) != 200 || used_again != used || again.port != q.port)
        abort();
    return 0;
}
