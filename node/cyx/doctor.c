/* cyx doctor: each stage of being on the network, what works, what doesn't and what to do. */
#include <string.h>

#include "node/cyx/cyx.h"

static const char *mark_of(const char *state, bool colour)
{
    if (strcmp(state, "ok") == 0)
        return colour ? "\033[32mok  \033[0m" : "ok  ";
    if (strcmp(state, "warn") == 0)
        return colour ? "\033[33mwarn\033[0m" : "warn";
    if (strcmp(state, "fail") == 0)
        return colour ? "\033[31mFAIL\033[0m" : "FAIL";
    return "skip";
}

/* 1 when a stage failed. */
static int count_failures(const msgpack_object *r)
{
    int failed = 0;
    char state[32];
    for (uint32_t i = 0; i < r->via.array.size; i++)
        failed |= strcmp(show_str(&r->via.array.ptr[i], "state", state, sizeof state), "fail") == 0;
    return failed;
}

static void show_stages(const msgpack_object *r)
{
    bool colour = show_colour(stdout);
    char stage[64], state[32], text[1024], cure[1024];
    for (uint32_t i = 0; i < r->via.array.size; i++) {
        const msgpack_object *s = &r->via.array.ptr[i];
        show_str(s, "state", state, sizeof state);
        printf("%s  %-14s %s\n", mark_of(state, colour), show_str(s, "stage", stage, sizeof stage),
               show_str(s, "text", text, sizeof text));
        if (*show_str(s, "cure", cure, sizeof cure) != '\0')
            printf("%22s%s\n", "-> ", cure);
    }
}

int cyx_doctor(struct cli *c)
{
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    int status = CLI_OK;
    struct client *client = cyx_connect(c);
    if (client == NULL)
        return CLI_UNREACHABLE;
    if (client_call(client, "doctor", NULL, 0, CYX_ANSWER_MS, NULL, NULL, &r, &err) < 0)
        status = cyx_failed(c, &err);
    else if (r->type != MSGPACK_OBJECT_ARRAY)
        status = cli_error(c, CLI_FAILED, "the daemon's answer is not a list");
    else {
        if (cli_flag(c, "json"))
            show_json(stdout, r);
        else
            show_stages(r);
        status = count_failures(r) ? CLI_FAILED : CLI_OK;
    }
    client_close(client);
    return status;
}
