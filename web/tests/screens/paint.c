// Paints in 800x600 pixels of 32 bits: paint SEED. Gradients, noise, lines and areas, some of them moved: what the
// different ways of compressing a screen are made for. Without a C library, to be small.
#define WIDE 800
#define HIGH 600

static long call(long n, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}

static unsigned seed;

static unsigned next(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

__attribute__((used)) static void start(long *stack)
{
    const char *argument = ((char **)(stack + 1))[1];
    while (*argument) seed = seed * 10 + *argument++ - '0';
    long file = call(2, (long)"/sys/bus/pci/devices/0000:00:02.0/resource0", 2, 0, 0, 0, 0); // open
    unsigned *screen = (unsigned *)call(9, 0, WIDE * HIGH * 4, 3, 1, file, 0); // mmap, shared
    for (int i = 0; i < WIDE * HIGH; i++) screen[i] = (i / WIDE * 2 / 5) << 16 | (i % WIDE / 4) << 8 | (seed & 0xff);
    for (int n = 0; n < 60; n++) {
        int x = next(WIDE - 120), y = next(HIGH - 120), w = 1 + next(120), h = 1 + next(120), kind = next(4);
        unsigned colour = next(0x1000000);
        for (int j = y; j < y + h; j++)
            for (int i = x; i < x + w; i++) {
                unsigned *pixel = screen + j * WIDE + i;
                if (kind == 0) *pixel = colour;
                else if (kind == 1) *pixel = next(0x1000000);
                else if (kind == 2) *pixel = (i ^ j) & 4 ? colour : 0;
                else *pixel = screen[(HIGH - 1 - j) * WIDE + WIDE - 1 - i];
            }
    }
    call(60, 0, 0, 0, 0, 0, 0); // exit
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n call start");
