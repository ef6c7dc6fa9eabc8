"""One LightningModule per way of learning."""
