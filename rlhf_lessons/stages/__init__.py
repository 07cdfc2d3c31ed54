"""The four stages of RLHF, one file each: pretrain, sft, reward, ppo."""
