"""The stages of RLHF, one file each: pretrain, sft, reward, ppo; then rloo (and GRPO) and dpo."""
