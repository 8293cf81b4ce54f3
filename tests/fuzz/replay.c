/* Replays every file of the folders and files named as arguments through the fuzz target, each as a
 * heap block of exact size so that AddressSanitizer sees one byte over. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_file(const char *path)
{
    cleanup_fclose FILE *f = fopen(path, "rb");
    struct stat st;
    if (f == NULL || fstat(fileno(f), &st) != 0)
        return -1;
    size_t len = (size_t)st.st_size;
    cleanup_free uint8_t *data = malloc(len > 0 ? len : 1);
    if (data == NULL || fread(data, 1, len, f) != len)
        return -1;
    LLVMFuzzerTestOneInput(data, len);
    return 1;
}

static int replay_dir(const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL)
        return -1;
    int n = 0;
    for (struct dirent *e = readdir(d); e != NULL && n >= 0; e = readdir(d)) {
        char file[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        n = replay_file(file) < 0 ? -1 : n + 1;
    }
    closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int n = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? replay_dir(argv[i])
                                                               : replay_file(argv[i]);
        if (n < 0) {
            fprintf(stderr, "replay: can't read %s\n", argv[i]);
            return 1;
        }
        total += n;
    }
    printf("replayed %d inputs\n", total);
    return total > 0 ? 0 : 1; /* an empty corpus proves nothing */
}
