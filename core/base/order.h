/* SPDX-License-Identifier: MIT */
/*
 * The vocabulary of memory ordering: the only place where C11 atomics are named.
 *
 * Every call says its order. Each call that is not relaxed carries a comment at
 * the call with a tag, `NAME.event`, that stands at both ends of the pairing;
 * tests/style checks that no tag has one end only.
 *
 * Objects are declared as `order_u64 x`, `order_u32 x`, `order_ptr x`.
 *
 * A compare-exchange that fails is a load: relaxed where the success is relaxed
 * or release, acquire where it is acquire or acq_rel. Like C11's, it stores what
 * it found in *expected; the weak one may fail for no reason and belongs in a loop.
 */
#ifndef REFSTORM_BASE_ORDER_H
#define REFSTORM_BASE_ORDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic(uint32_t) order_u32;
typedef _Atomic(uint64_t) order_u64;
typedef _Atomic(void *) order_ptr;

/* Bytes written apart stay on different lines: two of 64 bytes, which are fetched together. */
#define ORDER_LINE 128

/*
 * In the `count` preset: how many read-modify-writes (locked instructions on
 * x86) and plain stores this thread made through the vocabulary. Only the thread
 * itself reads them. __thread, since C++ would wrap thread_local in a call.
 */
#ifdef RS_COUNT
extern __thread uint64_t order_locked_count;
extern __thread uint64_t order_shared_store_count;
#define ORDER_COUNT_LOCKED ((void)order_locked_count++)
#define ORDER_COUNT_STORE ((void)order_shared_store_count++)
#else
#define ORDER_COUNT_LOCKED ((void)0)
#define ORDER_COUNT_STORE ((void)0)
#endif

/* Loads. */
#define order_load_relaxed(object) atomic_load_explicit((object), memory_order_relaxed)
#define order_load_acquire(object) atomic_load_explicit((object), memory_order_acquire)
#define order_load_seq_cst(object) atomic_load_explicit((object), memory_order_seq_cst)

/* Stores. */
#define order_store_relaxed(object, value)                                                         \
	(ORDER_COUNT_STORE, atomic_store_explicit((object), (value), memory_order_relaxed))
#define order_store_release(object, value)                                                         \
	(ORDER_COUNT_STORE, atomic_store_explicit((object), (value), memory_order_release))
/* Counted as locked too: on x86 it is an exchange. */
#define order_store_seq_cst(object, value)                                                         \
	(ORDER_COUNT_LOCKED, ORDER_COUNT_STORE,                                                    \
	 atomic_store_explicit((object), (value), memory_order_seq_cst))

/*
 * Stores to a line that this thread alone writes, however many read it: the line stays in its
 * CPU's cache between two readings, so that they are not counted as stores to a shared line.
 */
#define order_own_store_relaxed(object, value)                                                     \
	atomic_store_explicit((object), (value), memory_order_relaxed)
#define order_own_store_release(object, value)                                                     \
	atomic_store_explicit((object), (value), memory_order_release)

/* Exchanges; they return the old value. */
#define order_exchange_relaxed(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_exchange_explicit((object), (value), memory_order_relaxed))
#define order_exchange_acquire(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_exchange_explicit((object), (value), memory_order_acquire))
#define order_exchange_release(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_exchange_explicit((object), (value), memory_order_release))
#define order_exchange_acq_rel(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_exchange_explicit((object), (value), memory_order_acq_rel))

/* Compare-exchanges; true if `desired` was stored. */
#define order_cas_weak_relaxed(object, expected, desired)                                          \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_weak_explicit((object), (expected), (desired),                    \
					       memory_order_relaxed, memory_order_relaxed))
#define order_cas_weak_acquire(object, expected, desired)                                          \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_weak_explicit((object), (expected), (desired),                    \
					       memory_order_acquire, memory_order_acquire))
#define order_cas_weak_release(object, expected, desired)                                          \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_weak_explicit((object), (expected), (desired),                    \
					       memory_order_release, memory_order_relaxed))
#define order_cas_weak_acq_rel(object, expected, desired)                                          \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_weak_explicit((object), (expected), (desired),                    \
					       memory_order_acq_rel, memory_order_acquire))
#define order_cas_relaxed(object, expected, desired)                                               \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_strong_explicit((object), (expected), (desired),                  \
						 memory_order_relaxed, memory_order_relaxed))
#define order_cas_acquire(object, expected, desired)                                               \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_strong_explicit((object), (expected), (desired),                  \
						 memory_order_acquire, memory_order_acquire))
#define order_cas_release(object, expected, desired)                                               \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_strong_explicit((object), (expected), (desired),                  \
						 memory_order_release, memory_order_relaxed))
#define order_cas_acq_rel(object, expected, desired)                                               \
	(ORDER_COUNT_LOCKED,                                                                       \
	 atomic_compare_exchange_strong_explicit((object), (expected), (desired),                  \
						 memory_order_acq_rel, memory_order_acquire))

/* Arithmetic and bits; they return the old value. */
#define order_fetch_add_relaxed(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_add_explicit((object), (value), memory_order_relaxed))
#define order_fetch_add_acquire(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_add_explicit((object), (value), memory_order_acquire))
#define order_fetch_add_release(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_add_explicit((object), (value), memory_order_release))
#define order_fetch_add_acq_rel(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_add_explicit((object), (value), memory_order_acq_rel))
#define order_fetch_sub_relaxed(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_sub_explicit((object), (value), memory_order_relaxed))
#define order_fetch_sub_acquire(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_sub_explicit((object), (value), memory_order_acquire))
#define order_fetch_sub_release(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_sub_explicit((object), (value), memory_order_release))
#define order_fetch_sub_acq_rel(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_sub_explicit((object), (value), memory_order_acq_rel))
#define order_fetch_or_relaxed(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_fetch_or_explicit((object), (value), memory_order_relaxed))
#define order_fetch_or_acquire(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_fetch_or_explicit((object), (value), memory_order_acquire))
#define order_fetch_or_release(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_fetch_or_explicit((object), (value), memory_order_release))
#define order_fetch_or_acq_rel(object, value)                                                      \
	(ORDER_COUNT_LOCKED, atomic_fetch_or_explicit((object), (value), memory_order_acq_rel))
#define order_fetch_and_relaxed(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_and_explicit((object), (value), memory_order_relaxed))
#define order_fetch_and_acquire(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_and_explicit((object), (value), memory_order_acquire))
#define order_fetch_and_release(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_and_explicit((object), (value), memory_order_release))
#define order_fetch_and_acq_rel(object, value)                                                     \
	(ORDER_COUNT_LOCKED, atomic_fetch_and_explicit((object), (value), memory_order_acq_rel))

/* Bare fences, for core/base/barrier.h alone. The first binds the compiler only. */
#define order_fence_compiler() atomic_signal_fence(memory_order_seq_cst)
#if defined(__SANITIZE_THREAD__)
#define ORDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ORDER_TSAN 1
#endif
#endif
#ifdef ORDER_TSAN
/* The thread sanitizer does not know fences; this is one to x86. */
static inline void order_fence_full(void)
{
	order_u32 word = 0;

	atomic_fetch_add_explicit(&word, 1, memory_order_seq_cst);
}
#else
#define order_fence_full() (ORDER_COUNT_LOCKED, atomic_thread_fence(memory_order_seq_cst))
#endif

/* In a loop that waits for another thread: lets the other hyper-thread of the core run. */
static inline void order_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif /* REFSTORM_BASE_ORDER_H */
