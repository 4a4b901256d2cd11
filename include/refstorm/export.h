/* SPDX-License-Identifier: MIT */
/*
 * RS_API stands in front of every function that the library offers. All others
 * are hidden: the shared library does not export them, and the static one keeps
 * them to itself.
 */
#ifndef REFSTORM_EXPORT_H
#define REFSTORM_EXPORT_H

#if defined(__GNUC__)
#define RS_API __attribute__((visibility("default")))
#else
#define RS_API
#endif

/* In front of an unnamed union, which C has since 2011 only and compilers much longer. */
#if defined(__GNUC__)
#define RS_EXTENSION __extension__
#else
#define RS_EXTENSION
#endif

#endif /* REFSTORM_EXPORT_H */
