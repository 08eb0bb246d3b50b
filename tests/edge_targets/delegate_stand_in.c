/* A delegate in the place of libedgetpu: it takes every operator "edgetpu-custom-op" of a model, as the real one does,
   and gives a constant in the place of results. The tests build it with the system's C compiler; with -DNO_DEVICE it
   finds no Edge TPU, as the real one does where none is plugged in.

   The structures are the stable part of TensorFlow Lite's C API (tensorflow/lite/core/c/common.h). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TAKEN "edgetpu-custom-op"
#define RESULT 42

typedef struct { int size; int data[]; } IntArray;
typedef struct { IntArray *inputs, *outputs; } Node;
typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
  int type;
  void *data;
  IntArray *dims;
  float scale;
  int32_t zero_point;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  Delegate *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  int quantization_type;
  void *quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;

typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *external, *async_kernel;
  uint64_t inplace_operator;
} Registration;

struct Context {
  size_t tensors_size;
  int (*get_execution_plan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  int (*resize_tensor)(Context *, Tensor *, IntArray *);
  void (*report_error)(Context *, const char *, ...);
  int (*add_tensors)(Context *, int, int *);
  int (*get_node_and_registration)(Context *, int, Node **, Registration **);
  int (*replace_nodes)(Context *, Registration, const IntArray *, Delegate *);
};

struct Delegate {
  void *data;
  int (*prepare)(Context *, Delegate *);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *opaque;
};

static int ready(Context *context, Node *node) { return 0; }

static int run(Context *context, Node *node) {
  for (int place = 0; place < node->outputs->size; place++) {
    Tensor *output = &context->tensors[node->outputs->data[place]];
    memset(output->data, RESULT, output->bytes);
  }
  return 0;
}

static int take(Context *context, Delegate *delegate) {
  IntArray *plan;
  if (context->get_execution_plan(context, &plan)) return 1;
  IntArray *taken = calloc(1, sizeof(IntArray) + sizeof(int) * plan->size);
  for (int place = 0; place < plan->size; place++) {
    Node *node;
    Registration *registration;
    if (context->get_node_and_registration(context, plan->data[place], &node, &registration)) return 1;
    if (registration->custom_name && !strcmp(registration->custom_name, TAKEN))
      taken->data[taken->size++] = plan->data[place];
  }
  Registration ours = {NULL, NULL, ready, run, NULL, 0, "EdgeTpuDelegateForCustomOp", 1, NULL, NULL, 0};
  int status = taken->size ? context->replace_nodes(context, ours, taken, delegate) : 0;
  free(taken);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, int count, void (*report)(const char *)) {
#ifdef NO_DEVICE
  report("Failed to open device: no Edge TPU is plugged in.");
  return NULL;
#else
  Delegate *made = calloc(1, sizeof *made);
  made->prepare = take;
  /* kTfLiteDelegateFlagsAllowDynamicTensors: else the interpreter prepares all operators first, and has no such one. */
  made->flags = 1;
  return made;
#endif
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
