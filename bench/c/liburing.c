/* placeholder */
int bench_placeholder;
