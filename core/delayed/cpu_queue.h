/* SPDX-License-Identifier: MIT */
/*
 * A queue for each CPU, filled by restartable sequences: a delta is appended with ordinary
 * stores, the last of which commits it, and the kernel starts the sequence again if the thread is
 * preempted, moved, signalled or stopped inside it.
 *
 * Who may call: append any thread that the C library registered for restartable sequences, one
 * that it did not is turned away; take any thread, several at a time. Progress: append is
 * lock-free; take lock-free, with one membarrier. A thread is never stopped inside an append.
 * Shared lines written: none in an append. A switch of segments writes the queue's own line with
 * one compare-exchange, since a consumer may take the segment from another CPU at that moment. A
 * take writes one line for each CPU that has something.
 *
 * A queue points at the segment being filled, which leads to the full ones before it. A queue that
 * was taken points at one that is full for ever, so that an append never asks whether there is one.
 */
#ifndef REFSTORM_DELAYED_CPU_QUEUE_H
#define REFSTORM_DELAYED_CPU_QUEUE_H

#include <assert.h>

#include "core/delayed/taken.h"

#if defined(__x86_64__) && defined(__linux__)
#define CPU_QUEUE_HAS 1
#else
#define CPU_QUEUE_HAS 0
#endif

struct cpu_queue {
	order_ptr current; /* the segment being filled */
} __attribute__((aligned(ORDER_LINE)));

struct cpu_queues {
	struct cpu_queue *queues;
	unsigned count; /* CPUs with numbers from here on have none */
	struct segment_pool *pool;
};

enum cpu_queue_outcome {
	CPU_QUEUE_APPENDED,
	CPU_QUEUE_FULL,   /* the segment is: cpu_queue_switch, and again */
	CPU_QUEUE_ABSENT, /* this CPU has no queue, or this thread no restartable sequences */
};

/* Whether this machine, this C library and this process have what it takes. */
bool cpu_queue_possible(void);

/* `count` queues, at least 1. 0 or -ENOMEM. */
int cpu_queues_init(struct cpu_queues *queues, struct segment_pool *pool, unsigned count)
	__attribute__((warn_unused_result));

/* Nobody uses it. */
void cpu_queues_destroy(struct cpu_queues *queues);

/* A new segment for the running CPU's queue, unless it has one with room. 0 or -ENOMEM. */
int cpu_queue_switch(struct cpu_queues *queues) __attribute__((warn_unused_result));

/*
 * Takes all that all queues have. Nothing that was appended before is missed, and no append
 * goes on in a segment that was taken.
 */
void cpu_queue_take(struct cpu_queues *queues, struct taken *taken);

/* What an RCU reader sees: deltas in all queues; since when the oldest is there, UINT64_MAX for none. */
uint64_t cpu_queue_pending(const struct cpu_queues *queues, uint64_t *since);

/* The kernel still knows the thread's last sequence; before its code could be unloaded it is told. */
void cpu_queue_forget(void);

#if CPU_QUEUE_HAS
#include <emmintrin.h>
#include <sys/rseq.h>

#define CPU_QUEUE_SHIFT 7 /* of sizeof(struct cpu_queue) */
static_assert(sizeof(struct cpu_queue) == 1 << CPU_QUEUE_SHIFT, "indexed by a shift");
static_assert(offsetof(struct segment, count) == 0, "the sequence finds the count there");

/*
 * Appends to the running CPU's queue. The sequence reads the CPU's number, its segment and count,
 * writes the delta, and commits by storing count + 1. x86 keeps stores in order, so whoever sees
 * the count sees the delta: QUEUE.publish, without an instruction of its own.
 */
static inline enum cpu_queue_outcome cpu_queue_append(const struct cpu_queues *queues,
						      const struct rs_delta *delta, uint64_t seq)
{
	const __m128i *words = (const __m128i *)delta;
	__m128i first = _mm_loadu_si128(words);
	__m128i second = _mm_loadu_si128(words + 1);
	__m128i third =
		_mm_or_si128(_mm_loadu_si128(words + 2), _mm_set_epi64x((long long)(seq << 8), 0));
	uint64_t cpu;
	uint64_t segment;
	uint64_t count;
	uint64_t scratch;
	uint32_t outcome;

	__asm__ __volatile__(
		".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n\t"
		"3:\n\t"
		".long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"0:\n\t"
		"leaq 3b(%%rip), %[scratch]\n\t"
		"movq %[scratch], %%fs:%c[cs](%[area])\n\t"
		"1:\n\t"
		"movl %%fs:%c[id](%[area]), %k[cpu]\n\t"
		"movl %[absent], %[outcome]\n\t"
		"cmpl %[queue_count], %k[cpu]\n\t"
		"jae 2f\n\t"
		"movq %[cpu], %[segment]\n\t"
		"shlq %[shift], %[segment]\n\t"
		"movq (%[queues], %[segment]), %[segment]\n\t"
		"movq (%[segment]), %[count]\n\t"
		"movl %[full], %[outcome]\n\t"
		"cmpq %[room], %[count]\n\t"
		"jae 2f\n\t"
		"leaq (%[count], %[count], 2), %[scratch]\n\t"
		"shlq $4, %[scratch]\n\t"
		"movaps %[first], %c[deltas](%[segment], %[scratch])\n\t"
		"movaps %[second], %c[deltas] + 16(%[segment], %[scratch])\n\t"
		"movaps %[third], %c[deltas] + 32(%[segment], %[scratch])\n\t"
		"prefetchw %c[deltas] + 1024(%[segment], %[scratch])\n\t"
		"incq %[count]\n\t"
		"xorl %[outcome], %[outcome]\n\t"
		"movq %[count], (%[segment])\n\t"
		"2:\n\t"
		/* Preceded by the signature that glibc registers, as an operand of ud1. */
		".pushsection __rseq_failure, \"ax\"\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long %c[signature]\n\t"
		"4:\n\t"
		"jmp 0b\n\t"
		".popsection\n\t"
		: [cpu] "=&r"(cpu), [segment] "=&r"(segment), [count] "=&r"(count),
		  [scratch] "=&r"(scratch), [outcome] "=&r"(outcome)
		: [area] "r"(__rseq_offset), [cs] "i"(offsetof(struct rseq, rseq_cs)),
		  [id] "i"(offsetof(struct rseq, cpu_id)), [queues] "r"(queues->queues),
		  [queue_count] "r"(queues->count), [shift] "i"(CPU_QUEUE_SHIFT),
		  [room] "i"(SEGMENT_DELTAS), [deltas] "i"(offsetof(struct segment, deltas)),
		  [first] "x"(first), [second] "x"(second), [third] "x"(third),
		  [absent] "i"(CPU_QUEUE_ABSENT), [full] "i"(CPU_QUEUE_FULL), [signature] "i"(RSEQ_SIG)
		: "memory", "cc");
	return (enum cpu_queue_outcome)outcome;
}
#else
static inline enum cpu_queue_outcome cpu_queue_append(const struct cpu_queues *queues,
						      const struct rs_delta *delta, uint64_t seq)
{
	(void)queues;
	(void)delta;
	(void)seq;
	return CPU_QUEUE_ABSENT;
}
#endif

#endif /* REFSTORM_DELAYED_CPU_QUEUE_H */
