/* Frames of one packet: whatever is read must be written again as the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "mesh/frame.h"

static void put(struct writer *w, const struct mesh_frame *f)
{
    switch (f->type) {
    case MESH_FRAME_CELL:
        mesh_frame_put_cell(w, f->cell.path, f->cell.cell);
        break;
    case MESH_FRAME_DESTROY:
        mesh_frame_put_destroy(w, f->destroy);
        break;
    case MESH_FRAME_MSG:
        mesh_frame_put_msg(w, &f->msg);
        break;
    case MESH_FRAME_RESEND:
        mesh_frame_put_resend(w, &f->resend);
        break;
    case MESH_FRAME_PING:
    case MESH_FRAME_PONG:
        mesh_frame_put_ping(w, f->type, f->ping);
        break;
    case MESH_FRAME_OBSERVED:
        mesh_frame_put_observed(w, &f->observed);
        break;
    case MESH_FRAME_GOODBYE:
        mesh_frame_put_goodbye(w, (enum mesh_goodbye)f->goodbye);
        break;
    case MESH_FRAME_PADDING:
    case MESH_FRAME_CELL_HALF:
        abort(); /* the caller stops at padding; CELL_HALF is never handed out */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = reader_on(data, len);
    for (;;) {
        struct mesh_frame f;
        bool unknown = false;
        const uint8_t *start = r.p;
        if (mesh_frame_next(&r, &f, &unknown) != DROP_NONE)
            return 0;
        if (f.type == MESH_FRAME_PADDING) {
            if (!reader_done(&r))
                abort();
            return 0;
        }
        uint8_t built[MESH_PACKET_ROOM];
        struct writer w = writer_on(built, sizeof built);
        put(&w, &f);
        size_t n = (size_t)(r.p - start);
        if (unknown || !writer_ok(&w) || writer_len(&w) != n || memcmp(built, start, n) != 0)
            abort();
    }
}
