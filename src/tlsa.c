/* Keeps TLSA records that can be used. */
#include "tlsa.h"

#include <string.h>

/* RFC 6698 section 7.4: the lengths that the matching types 1 and 2 have. */
static bool length_fits(uint8_t matching, size_t len)
{
    return matching == 0 ? len > 0 : matching == 1 ? len == 32 : matching == 2 && len == 64;
}

bool tlsa_add(struct tlsa_set *set, const uint8_t *rdata, size_t len)
{
    if (len < 3 || rdata[0] > 3 || rdata[1] > 1 || !length_fits(rdata[2], len - 3))
        return false;
    len -= 3;
    if (set->count == TLSA_RECORDS_MAX || len > (size_t)TLSA_BYTES_MAX - set->used)
        return false;
    set->records[set->count++] = (struct tlsa_record){rdata[0], rdata[1], rdata[2], set->used, (uint16_t)len};
    memcpy(set->bytes + set->used, rdata + 3, len);
    set->used = (uint16_t)(set->used + len);
    return true;
}
