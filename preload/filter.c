/* The classic BPF of seccomp(2): 32-bit words, one accumulator, one index register, 16 words of memory, jumps forward
 * only. The kernel allows the instructions below and no others (seccomp_check_filter in kernel/seccomp.c). */
#include "filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "p2ptls: name the architecture as seccomp filters see it"
#endif

struct machine {
    uint32_t a, x, memory[BPF_MEMWORDS];
    const struct seccomp_data *data;
};

static uint32_t word_at(const struct seccomp_data *data, uint32_t offset)
{
    uint32_t word = 0;
    if (offset <= sizeof *data - sizeof word)
        memcpy(&word, (const char *)data + offset, sizeof word);
    return word;
}

static uint32_t arithmetic(uint16_t operation, uint32_t a, uint32_t b)
{
    switch (operation) {
    case BPF_ADD:
        return a + b;
    case BPF_SUB:
        return a - b;
    case BPF_MUL:
        return a * b;
    case BPF_DIV:
        return b ? a / b : 0;
    case BPF_OR:
        return a | b;
    case BPF_AND:
        return a & b;
    case BPF_XOR:
        return a ^ b;
    case BPF_LSH:
        return b < 32 ? a << b : 0;
    case BPF_RSH:
        return b < 32 ? a >> b : 0;
    default: /* BPF_NEG */
        return -a;
    }
}

static bool jumps(uint16_t comparison, uint32_t a, uint32_t b)
{
    switch (comparison) {
    case BPF_JEQ:
        return a == b;
    case BPF_JGT:
        return a > b;
    case BPF_JGE:
        return a >= b;
    default: /* BPF_JSET */
        return a & b;
    }
}

static uint32_t loaded(const struct machine *m, const struct sock_filter *i)
{
    switch (BPF_MODE(i->code)) {
    case BPF_ABS:
        return word_at(m->data, i->k);
    case BPF_LEN:
        return sizeof *m->data;
    case BPF_MEM:
        return m->memory[i->k % BPF_MEMWORDS];
    default: /* BPF_IMM */
        return i->k;
    }
}

/* Everything but jumps and returns. */
static void step(struct machine *m, const struct sock_filter *i)
{
    switch (BPF_CLASS(i->code)) {
    case BPF_LD:
        m->a = loaded(m, i);
        break;
    case BPF_LDX:
        m->x = loaded(m, i);
        break;
    case BPF_ST:
        m->memory[i->k % BPF_MEMWORDS] = m->a;
        break;
    case BPF_STX:
        m->memory[i->k % BPF_MEMWORDS] = m->x;
        break;
    case BPF_ALU:
        m->a = arithmetic(BPF_OP(i->code), m->a, BPF_SRC(i->code) == BPF_X ? m->x : i->k);
        break;
    default: /* BPF_MISC */
        if (BPF_MISCOP(i->code) == BPF_TAX)
            m->x = m->a;
        else
            m->a = m->x;
    }
}

static uint32_t verdict(const struct sock_fprog *filter, const struct seccomp_data *data)
{
    struct machine m = {.data = data};
    for (size_t at = 0; at < filter->len; at++) {
        const struct sock_filter *i = &filter->filter[at];
        if (BPF_CLASS(i->code) == BPF_RET)
            return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
        if (BPF_CLASS(i->code) != BPF_JMP)
            step(&m, i);
        else if (BPF_OP(i->code) == BPF_JA)
            at += i->k;
        else
            at += jumps(BPF_OP(i->code), m.a, BPF_SRC(i->code) == BPF_X ? m.x : i->k) ? i->jt : i->jf;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

bool filter_allows(const struct sock_fprog *filter, long number, const uint64_t args[6])
{
    struct seccomp_data data = {.nr = (int)number, .arch = ARCHITECTURE};
    memcpy(data.args, args, sizeof data.args);
    uint32_t action = verdict(filter, &data) & SECCOMP_RET_ACTION_FULL;
    return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}
