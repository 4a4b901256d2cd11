/* SPDX-License-Identifier: MIT */
/*
 * A slot of memory for each CPU, on lines of its own.
 *
 * Callers: create and destroy one thread, when nobody uses it; the rest any
 * thread. Progress: wait-free. percpu_current may be stale when it returns: the
 * thread can be moved at any time, so what a slot holds must bear access from
 * another CPU, or be reached by a restartable sequence that checks the CPU.
 */
#ifndef REFSTORM_BASE_PERCPU_H
#define REFSTORM_BASE_PERCPU_H

#include <stddef.h>
#include <stdint.h>
#include <sys/rseq.h>

#include "core/base/order.h"

struct percpu {
	unsigned char *base;
	size_t stride;  /* a multiple of ORDER_LINE */
	unsigned count; /* percpu_possible() when it was made */
};

/*
 * One more than the highest number that a CPU of this machine can have, from
 * /sys/devices/system/cpu/possible, or where that cannot be read the number of
 * configured CPUs. Read once: the same in every call.
 */
unsigned percpu_possible(void);

/*
 * Slots of `bytes` bytes for each possible CPU, all zero, aligned to ORDER_LINE. Their
 * pages are touched here. Returns 0 or -ENOMEM, and then nothing is to be destroyed.
 */
int percpu_create(struct percpu *percpu, size_t bytes) __attribute__((warn_unused_result));

/* One that was never made, all zero, is allowed. */
void percpu_destroy(struct percpu *percpu);

/*
 * The slot of CPU `cpu`. A number beyond what was expected shares the slot of
 * another, cpu modulo the count: never out of bounds, but then two CPUs have one
 * slot. Who relies on one CPU a slot asks first whether cpu < percpu->count.
 */
static inline void *percpu_slot(const struct percpu *percpu, unsigned cpu)
{
	if (__builtin_expect(cpu >= percpu->count, 0))
		cpu %= percpu->count;
	return percpu->base + cpu * percpu->stride;
}

static inline unsigned char *percpu_thread_pointer(void)
{
#if defined(__x86_64__)
	unsigned char *pointer;

	__asm__("movq %%fs:0, %0" : "=r"(pointer));
	return pointer;
#else
	return (unsigned char *)__builtin_thread_pointer();
#endif
}

/* What percpu_current does without rseq: sched_getcpu, or 0 where that fails too. */
unsigned percpu_current_slow(void);

/*
 * The number of the CPU that the thread runs on. From the area that the C
 * library registered with the kernel, where it did; volatile, since the kernel
 * writes it behind the compiler's back. Negative there means not registered.
 */
static inline unsigned percpu_current(void)
{
	if (__builtin_expect(__rseq_size != 0, 1)) {
		const volatile struct rseq *area =
			(const volatile struct rseq *)(percpu_thread_pointer() + __rseq_offset);
		uint32_t cpu = area->cpu_id;

		if (__builtin_expect((int32_t)cpu >= 0, 1))
			return cpu;
	}
	return percpu_current_slow();
}

#endif /* REFSTORM_BASE_PERCPU_H */
