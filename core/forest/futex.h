/* SPDX-License-Identifier: MIT */
/* Sleeping until a word changes. Any thread. */
#ifndef REFSTORM_FOREST_FUTEX_H
#define REFSTORM_FOREST_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/order.h"

/* Returns when the word is not `value` any more, or for no reason: the caller looks. */
static inline void futex_wait(order_u32 *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* After the word was changed. */
static inline void futex_wake_all(order_u32 *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

#endif /* REFSTORM_FOREST_FUTEX_H */
