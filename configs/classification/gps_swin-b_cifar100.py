# GPS for Swin-B on the whole CIFAR-100, K = 5 as in Table 7. The source of the learning rate is
# unknown.
_base_ = './gps_vit-b16_cifar100.py'
model = dict(
    backbone='swin_base_patch4_window7_224.ms_in22k',
    weights='weights/swin_base_patch4_window7_224.ms_in22k.safetensors',
)
optim_wrapper = dict(optimizer=dict(lr=5e-3))
