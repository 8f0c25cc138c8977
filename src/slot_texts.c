/* The texts of a slot: in the slot itself if they are short, as most are, else in its room. */
#include "slot.h"

#include <string.h>

_Static_assert(SLOT_SUBJECT > SLOT_TEXTS && SLOT_NAME > SLOT_TEXTS, "what fits in a slot fits in each text");

struct text {
    const char *at;
    size_t len; /* with its end */
};

static struct text text_of(const char *from, size_t size)
{
    const size_t len = strnlen(from, size - 1);
    return (struct text){from, len + 1};
}

static void put(char *to, struct text text)
{
    memcpy(to, text.at, text.len - 1);
    to[text.len - 1] = 0;
}

void slot_texts_put(struct slot *slot, struct slot_room *room, const char subject[SLOT_SUBJECT],
                    const char alpn[SLOT_NAME], const char server_name[SLOT_NAME])
{
    const struct text s = text_of(subject, SLOT_SUBJECT), a = text_of(alpn, SLOT_NAME),
                      n = text_of(server_name, SLOT_NAME);

    slot->texts_far = s.len + a.len + n.len > SLOT_TEXTS;
    if (slot->texts_far)
        atomic_store_explicit(&slot->far_used, 1, memory_order_relaxed);
    put(slot->texts_far ? room->texts.subject : slot->texts, s);
    put(slot->texts_far ? room->texts.alpn : slot->texts + s.len, a);
    put(slot->texts_far ? room->texts.server_name : slot->texts + s.len + a.len, n);
}

static void take(const char **at, const char *end, char *to)
{
    const size_t len = strnlen(*at, (size_t)(end - *at));

    memcpy(to, *at, len);
    to[len] = 0;
    *at += *at + len < end ? len + 1 : len;
}

/* Whoever shares the slot may change it meanwhile: copied first. */
void slot_texts_get(const struct slot *slot, const struct slot_room *room, struct slot_texts *texts)
{
    char near[SLOT_TEXTS];
    const char *at = near;

    if (slot->texts_far) {
        *texts = room->texts;
        texts->subject[SLOT_SUBJECT - 1] = texts->alpn[SLOT_NAME - 1] = texts->server_name[SLOT_NAME - 1] = 0;
        return;
    }
    memcpy(near, slot->texts, sizeof near);
    take(&at, near + sizeof near, texts->subject);
    take(&at, near + sizeof near, texts->alpn);
    take(&at, near + sizeof near, texts->server_name);
}
