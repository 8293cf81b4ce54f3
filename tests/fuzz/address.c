/* Names of hidden endpoints, as a front door hears them: any bytes. The first byte: bit 0 makes the
 * rest (a key) an address first, so that the fuzzer gets behind the checksum. What is read must be
 * written again as the same name. */
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "onion/address.h"

static void must(bool holds)
{
    if (!holds)
        abort();
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The name's last 60 characters are its address, whatever its case. */
static void round_trip(const struct onion_name *n, const char *text, size_t len)
{
    char again[ONION_ADDRESS_TEXT];
    must(onion_address_check(n->address, NULL) == 0);
    onion_address_text(n->address, again);
    len -= text[len - 1] == '.';
    must(len >= 60 && len <= ONION_NAME_MAX);
    for (size_t i = 0; i < 60; i++)
        must(lower(text[len - 60 + i]) == again[i]);
    must(n->label == text && n->label_len == (len == 60 ? 0 : len - 61));
}

static void judge(const char *data, size_t len)
{
    struct onion_name n;
    char *text = malloc(len > 0 ? len : 1);
    must(text != NULL);
    memcpy(text, data, len);
    enum onion_name_verdict v = onion_name_parse(&n, text, len);
    must(v < ONION_NAME_VERDICTS);
    if (v == ONION_NAME_OK)
        round_trip(&n, text, len);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[ONION_ADDRESS_TEXT];
    if (sodium_init() < 0 || len == 0)
        return 0;
    if ((data[0] & 1) == 0) {
        judge((const char *)data + 1, len - 1);
    } else if (len > ONION_ADDRESS) {
        onion_address_text(data + 1, text);
        judge(text, ONION_ADDRESS_TEXT - 1);
    }
    return 0;
}
