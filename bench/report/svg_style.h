/* SPDX-License-Identifier: MIT */
/* The style sheet of a drawing, made fit for a page that has other drawings. Any thread. */
#ifndef REFSTORM_BENCH_REPORT_SVG_STYLE_H
#define REFSTORM_BENCH_REPORT_SVG_STYLE_H

#include <stddef.h>
#include <stdio.h>

/*
 * Writes the rules of the `length` bytes at `text` that refer to nothing outside, each for what is inside an
 * element of class flame only. Other rules, and blocks but @media, are left out.
 */
void svg_style_write(FILE *to, const char *text, size_t length);

#endif /* REFSTORM_BENCH_REPORT_SVG_STYLE_H */
