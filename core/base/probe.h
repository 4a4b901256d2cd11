/* SPDX-License-Identifier: MIT */
/*
 * Probe points `refstorm:*`, which perf, bpftrace and SystemTap find in the program and the library. One
 * that nobody has armed is a nop. There is none on the way of a recorded delta.
 *
 *   name             arguments                       where
 *   lock_wait        name (char *), address          before a thread waits for a lock that is held
 *   lock_acquired    name (char *), address, wait    it has the lock now; ns, 0 while times are off
 *   commit_begin     generation, heads               the commit lock is held, writers not stopped yet
 *   commit_end       generation, heads               writers go on; heads are of all commits so far
 *   cut              number                          it is taken: of commits, runs and views
 *   drop_step        id of the root, result          a part of a deleted tree is taken apart
 *   rescan_step      bytenr, generation              counted are the extents that begin below bytenr
 *   snapshot         id of the source, id, result    it is committed, or has failed
 *   measure_begin    none                            of a profile: the stretch that its tables are of
 *   measure_end      none
 *
 * Numbers are of 64 bits, a result is an int. Callers: any thread. Where sys/sdt.h is missing there are none.
 */
#ifndef REFSTORM_BASE_PROBE_H
#define REFSTORM_BASE_PROBE_H

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PROBE_IS_THERE 1
#endif
#endif

#ifdef PROBE_IS_THERE
#define PROBE0(name) DTRACE_PROBE(refstorm, name)
#define PROBE1(name, a) DTRACE_PROBE1(refstorm, name, a)
#define PROBE2(name, a, b) DTRACE_PROBE2(refstorm, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(refstorm, name, a, b, c)
#else
#define PROBE0(name) ((void)0)
#define PROBE1(name, a) ((void)(a))
#define PROBE2(name, a, b) ((void)(a), (void)(b))
#define PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif /* REFSTORM_BASE_PROBE_H */
