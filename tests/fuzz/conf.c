/* The configuration parser: any bytes give a configuration within its schema, or complaints; never
 * neither, and complaints are text that no terminal acts on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static const struct conf_item items[] = {
    { .table = "", .key = "name", .type = CONF_STRING, .min = 1, .max = 16, .def = "\"n\"" },
    { .table = "", .key = "on", .type = CONF_BOOL, .def = "true" },
    { .table = "mesh", .key = "port", .type = CONF_INT, .min = 1, .max = 65535, .def = "4100" },
    { .table = "mesh", .key = "listen", .type = CONF_STRINGS, .max = 4, .def = "[]" },
    { .table = "mesh", .key = "store", .type = CONF_SIZE, .min = 1, .max = 1 << 30, .def = "1024" },
    { .table = "mesh.lan", .key = "idle", .type = CONF_DURATION, .max = 60000, .def = "\"1s\"" },
    { .table = "log",
      .key = "level",
      .type = CONF_STRING,
      .words = "info debug",
      .def = "\"info\"" },
    { .key = NULL },
};
static const struct conf_item *const schemas[] = { items };

static void complain(void *arg, const char *file, unsigned line, const char *text)
{
    unsigned *n = arg;
    (void)line;
    require(strcmp(file, "f.toml") == 0 && text[0] != '\0');
    for (const char *p = text; *p != '\0'; p++)
        require((unsigned char)*p >= 0x20 && *p != 0x7f);
    require(++*n <= CONF_ERRORS_MAX);
}

static void check_values(const struct conf *c)
{
    const char *const *list;
    size_t name = strlen(conf_str(c, "", "name"));
    int64_t port = conf_int(c, "mesh", "port"), idle = conf_int(c, "mesh.lan", "idle");
    const char *level = conf_str(c, "log", "level");
    require(name >= 1 && name <= 16);
    require(port >= 1 && port <= 65535);
    require(idle >= 0 && idle <= 60000);
    require(conf_int(c, "mesh", "store") >= 1 && conf_int(c, "mesh", "store") <= 1 << 30);
    require(strcmp(level, "info") == 0 || strcmp(level, "debug") == 0);
    size_t n = conf_strs(c, "mesh", "listen", &list);
    require(n <= 4);
    for (size_t i = 0; i < n; i++)
        require(strlen(list[i]) < CONF_FILE_MAX);
    (void)conf_bool(c, "", "on");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned n = 0;
    struct cyx_err err = { 0 };
    char *text = malloc(len + 1);
    if (text == NULL)
        abort();
    char *exact = text + 1; /* ends where the block ends */
    if (len > 0)
        memcpy(exact, data, len);
    struct conf *c = conf_parse("f.toml", exact, len, schemas, 1, complain, &n, &err);
    require((c != NULL) == (n == 0));
    require((c != NULL) == (err.code == 0));
    if (c != NULL)
        check_values(c);
    conf_destroy(c);
    free(text);
    return 0;
}
