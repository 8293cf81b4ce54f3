#include "node/config_check.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/config.h"

int node__check_path(const char *value, struct cyx_err *err)
{
    if (value[0] == '\0' || value[0] == '/')
        return 0;
    return cyx_fail(err, CYX_EINVAL, "\"%s\" is not an absolute path", value);
}

int node__check_socket(const char *value, struct cyx_err *err)
{
    if (strlen(value) >= NODE_SOCKET_MAX)
        return cyx_fail(err, CYX_EINVAL, "a socket's path has at most %d bytes",
                        NODE_SOCKET_MAX - 1);
    return node__check_path(value, err);
}

bool node_role_name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return name[n] == '\0' && n >= 1 && n <= 32 && name[0] >= 'a' && name[0] <= 'z';
}

int node__check_role(const char *value, struct cyx_err *err)
{
    if (node_role_name_ok(value))
        return 0;
    return cyx_fail(err, CYX_EINVAL,
                    "\"%s\" is no role's name: want a lower-case letter, then at most 31 of a-z, "
                    "0-9 and -",
                    value);
}

int node__check_listen(const char *value, struct cyx_err *err)
{
    struct env_addr a;
    return env_addr_parse(&a, value, err);
}

static bool is_any(const struct env_addr *a)
{
    static const uint8_t zero[16];
    static const uint8_t v4[16] = { [10] = 0xff, [11] = 0xff };
    return memcmp(a->ip, zero, 16) == 0 || memcmp(a->ip, v4, 16) == 0;
}

int node__check_advertise(const char *value, struct cyx_err *err)
{
    struct env_addr a;
    int rc = env_addr_parse(&a, value, err);
    if (rc < 0)
        return rc;
    if (is_any(&a) || a.port == 0 || a.scope != 0)
        return cyx_fail(err, CYX_EINVAL,
                        "\"%s\" can't be dialled by others: want a full address and port", value);
    return 0;
}

int node__check_contact(const char *value, struct cyx_err *err)
{
    struct mesh_contact c;
    return mesh_contact_parse(&c, value, err);
}

bool node__is_loopback(const struct env_addr *a)
{
    static const uint8_t one[16] = { [15] = 1 };
    return env_addr_is_v4(a) ? a->ip[12] == 127 : memcmp(a->ip, one, 16) == 0;
}

int node__check_loopback(const char *value, struct cyx_err *err)
{
    struct env_addr a;
    if (value[0] == '\0')
        return 0;
    int rc = env_addr_parse(&a, value, err);
    if (rc == 0 && !node__is_loopback(&a))
        rc = cyx_fail(err, CYX_EINVAL,
                      "\"%s\" is not a loopback address: metrics tell who talks to whom, so they "
                      "stay on this machine; want 127.0.0.1:PORT or [::1]:PORT (put a proxy with a "
                      "password in front to collect them from elsewhere)",
                      value);
    return rc;
}

int node__check_door(const char *value, struct cyx_err *err)
{
    struct env_addr a;
    return value[0] == '\0' ? 0 : env_addr_parse(&a, value, err);
}

int node__check_family(const char *value, struct cyx_err *err)
{
    if (value[0] == '\0' || (strlen(value) == 32 && strspn(value, "0123456789abcdef") == 32))
        return 0;
    return cyx_fail(err, CYX_EINVAL, "want 32 lower-case hex digits, the same on all your nodes");
}

/* Did the last look-up fail for want of access? Inside the sandbox the accounts can't be asked any
 * more once their file was replaced. */
static bool is_unknowable(void)
{
    return errno == EACCES || errno == EPERM;
}

int node__check_group(const char *value, struct cyx_err *err)
{
    errno = 0;
    if (value[0] == '\0' || getgrnam(value) != NULL || is_unknowable())
        return 0;
    return cyx_fail(err, CYX_EINVAL, "there is no group \"%s\": `groupadd --system %s`", value,
                    value);
}

int node__check_user(const char *value, struct cyx_err *err)
{
    errno = 0;
    if (value[0] == '\0' || getpwnam(value) != NULL || is_unknowable())
        return 0;
    return cyx_fail(err, CYX_EINVAL,
                    "there is no user \"%s\": `useradd --system --shell /usr/sbin/nologin %s`",
                    value, value);
}

/* The line without its comment and the blanks around it. */
static char *trim(char *line)
{
    line[strcspn(line, "#\r\n")] = '\0';
    line += strspn(line, " \t");
    size_t n = strlen(line);
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
        line[--n] = '\0';
    return line;
}

int node__contacts_load(const char *path, struct mesh_contact *out, size_t cap, size_t *n,
                        struct cyx_err *err)
{
    char line[512];
    size_t got = 0;
    cleanup_fclose FILE *f = fopen(path, "re");
    if (f == NULL)
        return cyx_fail(err, errno == ENOENT ? CYX_ENOENT : CYX_EIO, "%s: %s", path,
                        strerror(errno));
    for (unsigned number = 1; fgets(line, sizeof line, f) != NULL; number++) {
        if (strchr(line, '\n') == NULL && !feof(f))
            return cyx_fail(err, CYX_EINVAL, "%s:%u: longer than any contact", path, number);
        const char *text = trim(line);
        if (text[0] == '\0')
            continue;
        if (got == cap)
            return cyx_fail(err, CYX_EFULL, "%s:%u: more than %zu contacts", path, number, cap);
        if (mesh_contact_parse(&out[got], text, err) < 0)
            return cyx_wrap(err, "%s:%u", path, number);
        got++;
    }
    if (ferror(f))
        return cyx_fail(err, CYX_EIO, "read %s: %s", path, strerror(errno));
    *n = got;
    return 0;
}
