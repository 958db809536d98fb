"""Networks whose published weights come from PyTorch files, as features of images; `tfcxr.porting` fills them."""
