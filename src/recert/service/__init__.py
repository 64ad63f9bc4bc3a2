"""The tuning service: OpenAI's files and fine-tuning endpoints with the chain behind them. Read `stage.py` first."""
