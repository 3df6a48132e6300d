/**
 * A client of the Segmind fine-tune gateway: submit jobs, watch them, wait for them, and move datasets and weights. Start with {@link
 * com.segmind.finetune.FineTuneGateway#connect}. The messages are those of the contract, package {@code com.segmind.finetune.v1}.
 */
package com.segmind.finetune;
