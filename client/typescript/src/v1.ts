/** The messages of the contract (segmind.finetune.v1), for what the client has no words of its own for. */
export * from "./proto/segmind/finetune/v1/fine_tune.js";
export * from "./proto/segmind/finetune/v1/fine_tune_service.js";
