/* config.json of a bundle: any bytes give a specification whose parts lie within their bounds, or
 * an error with a message; what the specification's check lets through has no user that isn't
 * mapped, no capability beyond those allowed, and a filter that is not empty. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "host/run/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check(const struct config *c)
{
    const struct iso_spec *s = &c->spec;
    require(s->process.uid < s->n_ids && s->process.gid < s->n_ids);
    require((s->process.caps & ~ISO_CAPS_ALLOWED) == 0);
    require(s->host_ids >= 1000 &&
            (uint64_t)s->host_ids + s->n_ids <= (uint64_t)ISO_HOST_ID_MAX + 1);
    require(s->n_mounts <= ISO_MOUNTS_MAX && s->n_sysctls <= ISO_SYSCTLS_MAX);
    for (unsigned i = 0; i < s->n_mounts; i++)
        require(s->mounts[i].target[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config c = { 0 };
    struct cyx_err err = { 0 };
    char *exact = malloc(len + 1); /* the parser gets what begins at 1: one byte over is seen */
    if (exact == NULL)
        abort();
    if (len > 0)
        memcpy(exact + 1, data, len);
    int rc = config_parse(&c, exact + 1, len, "/", &err);
    require((rc < 0) == (err.code < 0) && (rc == 0 || err.msg[0] != '\0'));
    require(c.filter.filter == NULL || c.filter.len > 6);
    if (rc == 0) {
        c.spec.name = "fuzz";
        if (!c.has_ids)
            c.spec.host_ids = 100000;
        if (iso_spec_check(&c.spec, NULL) == 0)
            check(&c);
    }
    config_free(&c);
    free(exact);
    return 0;
}
