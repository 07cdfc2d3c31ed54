"""What every stage shares: tokenizer, models, batching and sampling."""
