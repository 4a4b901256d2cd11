/* SPDX-License-Identifier: MIT */
/* How a long run tells its caller where it is. */
#ifndef REFSTORM_PROGRESS_H
#define REFSTORM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tree blocks read so far, and known to be there so far. Return false to give up. */
typedef bool rs_progress_fn(void *argument, uint64_t blocks, uint64_t known);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_PROGRESS_H */
