/* SPDX-License-Identifier: MIT */
#include "core/base/order.h"

#ifdef RS_COUNT
__thread uint64_t order_locked_count;
__thread uint64_t order_shared_store_count;
#endif
