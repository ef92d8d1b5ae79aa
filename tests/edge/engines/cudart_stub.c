/* A stub of libcudart with the real prototypes, on host memory and without a queue: shows that ctypes calls it right. */
#include <stdlib.h>
#include <string.h>

typedef struct { void *to; const void *from; size_t size; } Copy;

static int live, capturing;
static Copy recorded[64];
static int recorded_count;
static char stream_object;

int stub_live(void) { return live; }

const char *cudaGetErrorString(int code) { return code == 2 ? "out of memory" : "invalid argument"; }
int cudaGetDeviceCount(int *count) { *count = getenv("STUB_NO_GPU") ? 0 : 1; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 12060; return 0; }
int cudaMemGetInfo(size_t *free_bytes, size_t *total) { *free_bytes = 5ull << 30; *total = 8ull << 30; return 0; }

int cudaGetDeviceProperties(void *properties, int device) {
    if (device != 0) return 1;
    memset(properties, 0, 1032);
    strcpy(properties, "Orin");
    return 0;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    if (device != 0) return 1;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 16 ? 8 : -1;
    return 0;
}

int cudaMalloc(void **address, size_t size) {
    if (size > (1ull << 40)) return 2;
    *address = malloc(size);
    live++;
    return 0;
}
int cudaFree(void *address) { free(address); live--; return 0; }
int cudaHostAlloc(void **address, size_t size, unsigned flags) { return flags ? 1 : cudaMalloc(address, size); }
int cudaFreeHost(void *address) { return cudaFree(address); }

int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    if (flags != 1) return 1;
    *stream = &stream_object;
    live++;
    return 0;
}
int cudaStreamDestroy(void *stream) { if (stream != &stream_object) return 1; live--; return 0; }
int cudaStreamSynchronize(void *stream) { return stream == &stream_object && !capturing ? 0 : 1; }

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    if (stream != &stream_object || (kind != 1 && kind != 2)) return 1;
    if (capturing) recorded[recorded_count++] = (Copy){to, from, size};
    else memcpy(to, from, size);
    return 0;
}

int cudaStreamBeginCapture(void *stream, int mode) {
    if (stream != &stream_object || mode != 1 || capturing) return 1;
    capturing = 1;
    recorded_count = 0;
    return 0;
}
int cudaStreamEndCapture(void *stream, void **graph) {
    if (!capturing) return 1;
    capturing = 0;
    *graph = recorded;
    live++;
    return 0;
}
int cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags) {
    if (graph != recorded || flags) return 1;
    *executable = &recorded_count;
    live++;
    return 0;
}
int cudaGraphLaunch(void *executable, void *stream) {
    if (executable != &recorded_count || stream != &stream_object) return 1;
    for (int i = 0; i < recorded_count; i++) memcpy(recorded[i].to, recorded[i].from, recorded[i].size);
    return 0;
}
int cudaGraphExecDestroy(void *executable) { if (executable != &recorded_count) return 1; live--; return 0; }
int cudaGraphDestroy(void *graph) { if (graph != recorded) return 1; live--; return 0; }
